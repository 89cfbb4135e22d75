from __future__ import annotations

import typing

import pytest

from rerank.telemetry.events import (
    CLIENT_LEFT,
    BatchStarted,
    CacheFailed,
    CacheLookup,
    ConnectionClosed,
    DocumentsTruncated,
    Event,
    LoopAnswered,
    ModelChanged,
    RequestRecord,
    Shadowed,
    StateFailed,
    UpstreamCalled,
)
from rerank.telemetry.metrics import Metrics

SCORED = RequestRecord(
    documents=2, key="chat", model="m", tokens=9, dialect="TEI", status=200, seconds=0.02, stages={"queue": 0.01}
)
COUNTED: list[tuple[Event, list[str]]] = [
    (
        SCORED,
        [
            'rerank_requests_total{dialect="TEI",model="m",status="200"} 1.0',
            'rerank_key_requests_total{key="chat",status="200"} 1.0',
            'rerank_key_tokens_total{key="chat"} 9.0',
            'rerank_documents_total{model="m"} 2.0',
            'rerank_tokens_total{model="m"} 9.0',
            'rerank_request_duration_seconds_count{dialect="TEI"} 1.0',
            'rerank_stage_duration_seconds_sum{stage="queue"} 0.01',
        ],
    ),
    (RequestRecord(error="body.query", status=400), ['rerank_errors_total{error="InvalidBody"} 1.0']),
    (RequestRecord(status=CLIENT_LEFT), ["rerank_cancellations_total 1.0"]),
    (
        BatchStarted("cpu", 3, 30, 6),
        ['rerank_batch_tokens_sum{device="cpu"} 30.0', 'rerank_padding_tokens_total{device="cpu"} 6.0'],
    ),
    (ModelChanged("m", "failed"), ['rerank_model_events_total{event="failed",model="m"} 1.0']),
    (
        CacheLookup("m", "memory", 1, 2),
        [
            'rerank_cache_pairs_total{found="yes",model="m",store="memory"} 1.0',
            'rerank_cache_pairs_total{found="no",model="m",store="memory"} 2.0',
        ],
    ),
    (CacheFailed("redis", "read"), ['rerank_cache_errors_total{operation="read",store="redis"} 1.0']),
    (StateFailed(), ["rerank_state_errors_total 1.0"]),
    (UpstreamCalled("m", "skipped"), ['rerank_upstream_calls_total{model="m",outcome="skipped"} 1.0']),
    (
        Shadowed("m", "other", "compared", {"kendall": 0.75}),
        [
            'rerank_shadows_total{model="m",outcome="compared",shadow="other"} 1.0',
            'rerank_shadow_disagreement_sum{measure="kendall",model="m",shadow="other"} 0.25',
        ],
    ),
    (DocumentsTruncated("m", 3), ['rerank_documents_truncated_total{model="m"} 3.0']),
    (LoopAnswered(0.5), ["rerank_event_loop_delay_seconds_sum 0.5"]),
    (ConnectionClosed("head"), ['rerank_connections_closed_total{reason="head"} 1.0']),
]


@pytest.mark.parametrize(("event", "lines"), COUNTED, ids=lambda value: type(value).__name__)
def test_an_event_is_counted(event: Event, lines: list[str]) -> None:
    metrics = Metrics()
    metrics.observe(event)
    assert set(lines) <= set(metrics.exposition().decode().splitlines())


def test_every_kind_of_event_is_tested() -> None:
    assert {type(event) for event, _ in COUNTED} == set(typing.get_args(Event))


def test_known_facts_of_a_request_are_named_in_order() -> None:
    assert list(SCORED.facts().items()) == [("documents", 2), ("key", "chat"), ("model", "m"), ("tokens", 9)]
    assert RequestRecord(documents=0).facts() == {"documents": 0}


def test_an_invalid_body_is_one_class_of_errors() -> None:
    record = RequestRecord(error="body.documents.3")
    assert (record.facts()["error"], record.facts(by_class=True)["error"]) == ("body.documents.3", "InvalidBody")
