"""Answers of several replicas as one: load, metrics and models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rerank.cluster.calls import Answer
from rerank.cluster.merged_load import merged_load
from rerank.cluster.merged_metrics import merged_metrics
from rerank.cluster.merged_models import merged_list, merged_model


def answer(replica: str, content: Any) -> Answer:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(200, (), body, replica=replica)


class TestLoad:
    def test_is_the_sum_of_the_replicas_and_the_mean_of_their_backlogs(self) -> None:
        a = {"server_load": 2, "backlog_seconds": 1.0, "tokens": 100, "tokens_per_second": 50.5}
        b = {"server_load": 3, "backlog_seconds": 0.0015, "tokens": 7, "tokens_per_second": None}
        assert json.loads(merged_load([answer("a", a), answer("b", b)])) == {
            "server_load": 5,
            "tokens": 107,
            "tokens_per_second": 50.5,
            "backlog_seconds": 0.501,
            "replicas": {"a": a, "b": b},
        }

    def test_is_compact_and_keeps_names_readable(self) -> None:
        assert merged_load([answer("ä", {"server_load": 0, "backlog_seconds": 0})]).decode() == (
            '{"server_load":0,"backlog_seconds":0.0,"replicas":{"ä":{"server_load":0,"backlog_seconds":0}}}'
        )

    def test_has_only_the_fields_that_a_replica_has(self) -> None:
        assert json.loads(merged_load([answer("a", {"server_load": 1}), answer("b", {"server_load": 4})])) == {
            "server_load": 5
        }
        assert json.loads(merged_load([answer("a", {"tokens": None})])) == {}

    def test_a_replica_that_does_not_know_its_backlog_has_none(self) -> None:
        merged = json.loads(merged_load([answer("a", {"backlog_seconds": 3.0}), answer("b", {"server_load": 1})]))
        assert (merged["backlog_seconds"], merged["server_load"]) == (1.5, 1)


COUNTED = b"""# HELP pairs_total Scored pairs.
# TYPE pairs_total counter
pairs_total{model="m"} %d.0
"""
OWN = b"""# HELP pairs_total Scored pairs.
# TYPE pairs_total counter
pairs_total 0.0
# HELP open Connections.
# TYPE open gauge
open 4.0
"""


def samples(exposition: bytes) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    return {
        family.name: {tuple(sorted(sample.labels.items())): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(exposition.decode())
    }


class TestMetrics:
    def test_each_sample_says_where_it_is_of(self) -> None:
        merged = merged_metrics([answer("a", COUNTED % 3), answer("b", COUNTED % 5)], OWN)
        assert samples(merged) == {
            "pairs": {
                (("deployment", "replicas"), ("model", "m"), ("replica", "a")): 3,
                (("deployment", "replicas"), ("model", "m"), ("replica", "b")): 5,
                (("deployment", "ingress"), ("replica", "")): 0,
            },
            "open": {(("deployment", "ingress"), ("replica", "")): 4},
        }

    def test_each_metric_is_described_once(self) -> None:
        lines = merged_metrics([answer("a", COUNTED % 3), answer("b", COUNTED % 5)], OWN).decode().splitlines()
        assert lines.count("# HELP pairs_total Scored pairs.") == 1
        assert lines.count("# TYPE pairs_total counter") == 1
        assert lines.count("# TYPE open gauge") == 1


def info(state: str, **details: Any) -> dict[str, Any]:
    return {"id": "acme/words", "state": state, **details}


READY = info("ready", pinned=True, bytes=100, device="cpu", last_used=5, max_length=512)


class TestModels:
    @pytest.mark.parametrize(
        ("states", "nearest"),
        [
            (["absent", "ready"], 1),
            (["draining", "ready", "loading"], 1),
            (["loading", "draining"], 1),
            (["absent", "loading"], 1),
            (["unheard of", "loading"], 1),
            (["absent", "absent"], 0),
        ],
    )
    def test_a_model_is_shown_as_where_it_is_nearest_to_an_answer(self, states: list[str], nearest: int) -> None:
        infos = [info(state, place=place) for place, state in enumerate(states)]
        merged = json.loads(merged_model([answer(f"r{place}", each) for place, each in enumerate(infos)]))
        assert (merged["state"], merged["place"]) == (states[nearest], nearest)

    def test_replicas_that_have_the_model_are_listed_in_order(self) -> None:
        answers = [answer("c", info("absent")), answer("b", READY), answer("a", info("loading", pinned=False))]
        assert json.loads(merged_model(answers)) == READY | {
            "replicas": [
                {"replica": "a", "state": "loading", "pinned": False},
                {"replica": "b", "state": "ready", "pinned": True, "bytes": 100, "device": "cpu", "last_used": 5},
            ]
        }

    def test_with_the_fields_of_vllm_alone_nothing_is_added(self) -> None:
        plain = {"id": "acme/words", "object": "model"}
        assert json.loads(merged_model([answer("a", plain), answer("b", plain)])) == plain

    def test_a_list_has_each_model_once(self) -> None:
        other = {"id": "größer", "state": "absent"}
        lists = [{"object": "list", "data": [info("absent"), other]}, {"object": "list", "data": [READY], "later": 1}]
        merged = merged_list([answer("a", lists[0]), answer("b", lists[1])])
        assert json.loads(merged) == {
            "object": "list",
            "data": [
                READY
                | {
                    "replicas": [
                        {
                            "replica": "b",
                            "state": "ready",
                            "pinned": True,
                            "bytes": 100,
                            "device": "cpu",
                            "last_used": 5,
                        }
                    ]
                },
                other | {"replicas": []},
            ],
        }
        assert b'{"object":"list","data":[{"id":"acme/words","state":"ready",' in merged
        assert "größer".encode() in merged
