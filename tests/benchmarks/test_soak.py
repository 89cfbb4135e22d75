"""What the soak counts as right, and what it notices."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from benchmarks.processes import serving
from benchmarks.resources import Usage, trend
from benchmarks.soak import client, stop_objections
from benchmarks.soak_kinds import KINDS, traffic
from benchmarks.soak_record import Look, Record, courses, growth_objections, log_objections, report
from benchmarks.soak_routes import make_long, make_routed
from benchmarks.soak_traffic import DIALECTS, Call, Case, Ranking, ask, make_cases, ranking_objection
from tests.benchmarks.test_servers import small_server

SCORES = (0.2, 0.9, 0.5)
RIGHT = [(1, 0.9), (2, 0.50005), (0, 0.2)]
CASE = Case("small", "one", "a", ("b", "c", "d"), SCORES)
HEADERS = {
    "X-Rerank-Model": "one",
    "X-Rerank-Degraded": "false",
    "X-Rerank-Partial": "false",
    "X-Rerank-Cached": "3",
}


@pytest.mark.parametrize(
    ("results", "top_n", "objection"),
    [
        (RIGHT, None, None),
        (RIGHT, 7, None),
        (RIGHT[:2], 2, None),
        (RIGHT[:2], None, "3 of the documents 0 to 2 were wanted"),
        (RIGHT, 2, "2 of the documents"),
        ([(1, 0.9), (1, 0.9), (0, 0.2)], None, "3 of the documents"),
        ([(1, 0.9), (2, 0.5), (3, 0.2)], None, "3 of the documents"),
        ([(2, 0.9), (1, 0.5), (0, 0.2)], None, "scores are 4.0e-01 apart"),
        ([(1, float("nan")), (2, 0.5), (0, 0.2)], None, "scores are "),
        (RIGHT[::-1], None, "not ordered"),
        ([(1, 0.9), (0, 0.2)], 2, "a better document was left out"),
    ],
)
def test_a_ranking_is_right_only_as_a_whole(
    results: list[tuple[int, float]], top_n: int | None, objection: str | None
) -> None:
    found = ranking_objection(results, SCORES, top_n)

    assert (found is None) == (objection is None)
    assert (objection or "") in (found or "")


@pytest.mark.parametrize("name", DIALECTS)
def test_every_dialect_asks_for_the_whole_case_and_is_read(name: str) -> None:
    call = ask(Ranking(CASE, DIALECTS[name], top_n=2))
    key = "score" if name == "TEI" else "relevance_score"
    results = [{"index": 1, key: 0.9}, {"index": 2, key: 0.5}]
    answer = {
        "TEI": results,
        "DashScope": {"output": {"results": results}},
    }.get(name, {"model": "one", "results": results})

    sent = json.dumps(json.loads(call.content or b""))
    assert all(f'"{text}"' in sent for text in ("one", *CASE.documents))
    assert '"top_n": 2' in sent
    assert call.objection(200, json.dumps(answer).encode(), HEADERS) is None
    assert "500 is not among [200]: oh" in (call.objection(500, b"oh", {}) or "")


def test_an_answer_of_another_model_is_wrong() -> None:
    answer = {"model": "two", "results": [{"index": index, "relevance_score": score} for index, score in RIGHT]}

    assert ask(Ranking(CASE, DIALECTS["vLLM"])).objection(200, json.dumps(answer).encode(), HEADERS) == (
        "answered by two, not one"
    )


@pytest.mark.parametrize(
    ("header", "value"),
    [("Model", "two"), ("Degraded", "true"), ("Partial", "true"), ("Cached", "4"), ("Cached", None)],
)
def test_headers_that_say_something_else_are_wrong(header: str, value: str | None) -> None:
    answer = {"model": "one", "results": [{"index": index, "relevance_score": score} for index, score in RIGHT]}
    said = {**HEADERS, f"X-Rerank-{header}": value}
    headers = {name: text for name, text in said.items() if text is not None}

    objection = ask(Ranking(CASE, DIALECTS["vLLM"])).objection(200, json.dumps(answer).encode(), headers)

    assert (objection or "").startswith("its headers say (")


def test_no_score_of_a_request_that_leaves_the_cache_alone_comes_from_it() -> None:
    call = ask(Ranking(CASE, DIALECTS["vLLM"], cached=False))
    answer = {"model": "one", "results": [{"index": index, "relevance_score": score} for index, score in RIGHT]}
    content = json.dumps(answer).encode()

    assert json.loads(call.content or b"")["cache"] is False
    assert call.objection(200, content, {**HEADERS, "X-Rerank-Cached": "0"}) is None
    assert call.objection(200, content, HEADERS) is not None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"results": [{"index": 0}]}'])
def test_what_is_no_ranking_is_wrong(content: bytes) -> None:
    assert (ask(Ranking(CASE, DIALECTS["vLLM"])).objection(200, content, HEADERS) or "").startswith("no ranking (")


def test_an_error_that_is_allowed_is_not_read_as_a_ranking() -> None:
    call = Call("/v1/rerank", b"{}", allowed=frozenset({200, 504}), expected=Ranking(CASE, DIALECTS["vLLM"]))

    assert call.objection(504, b"late", {}) is None


def test_a_client_begins_with_its_own_kind_and_the_same_seed_gives_the_same_requests() -> None:
    cases = [*make_cases("one", Random(1)), *make_routed(Random(1)), *make_long(Random(1))]
    first, second = ([*islice(traffic(3, 2, cases), 2000)] for _ in range(2))

    assert first == second != [*islice(traffic(3, 1, cases), 2000)]
    assert first[0][0] is KINDS[3]
    assert {kind.name for kind, _ in first} == {kind.name for kind in KINDS}
    assert sum(kind.share for kind in KINDS) == 1000


KIND = KINDS[0]


def record_of(answered: list[str]) -> Record:
    record = Record(clients=1, seconds=60.0, began=0.0, ended=60.0)
    for one in answered:
        record.sent[KIND.name] += 1
        record.answer(KIND, one, 200, 1.0, 0.5)
    return record


def access(*ids: str) -> str:
    return "".join(f"2026-11-21 21:34:38,521 INFO    rerank.access [{one}] POST /v1/rerank 200 1.0 ms\n" for one in ids)


def test_a_request_is_lost_unless_it_was_answered_or_left() -> None:
    record = record_of(["soak-0-1"])
    record.sent[KIND.name] += 2
    record.left[KIND.name] += 1

    record.lose(KIND, "soak-0-3", "gone")

    assert record.lost == 1
    assert record.failures == [f"soak-0-3 ({KIND.name}): lost: gone"]


def test_the_log_has_one_line_of_every_answer_and_no_traceback() -> None:
    record = record_of(["soak-0-1", "soak-0-2"])
    record.reloads = 1
    told = "reloaded the models file: nothing changed\n"

    assert log_objections(record, access("soak-0-1", "soak-0-2", "soak-0-9") + told) == []
    assert log_objections(record, access("soak-0-1", "soak-0-1") + told + "Traceback (most recent call last)") == [
        "soak-0-1: the log tells of 2 requests with this id",
        "soak-0-2: answered, but the log has no line of it",
        "the log holds a traceback",
    ]
    assert log_objections(record, access("soak-0-1", "soak-0-2")) == [
        "0 log lines say 'reloaded the models file', 1 were to be expected"
    ]


async def test_a_server_that_answers_wrongly_or_ends_badly_is_noticed(tmp_path: Path) -> None:
    call = ask(Ranking(CASE, DIALECTS["vLLM"]))
    calls = [(KIND, call), (KIND, replace(call, withheld=1, leaves_after=0.01))]
    record = Record(clients=1, seconds=60.0)

    with serving(small_server(), tmp_path) as server:
        await client(server, iter(calls), 0, math.inf, record)
        ended = stop_objections(server)
        await client(server, iter(calls), 0, math.inf, record)

    assert record.failures == [f"soak-0-1 ({KIND.name}): /v1/rerank: answered with the id None"]
    assert (record.sent.total(), record.answered, record.left.total(), record.lost) == (2, 1, 1, 0)
    assert ended == [f"the server ended with status {-signal.SIGTERM}"]


def looks(growth: float, seconds: int = 300, models: float = 0) -> list[Look]:
    """What a server takes that grows by megabytes a second, and whose models do."""
    return [Look(second, Usage(500 + (growth + models) * second, 30, 20), models * second) for second in range(seconds)]


def test_growth_is_noticed_and_swaying_is_not() -> None:
    steady, growing = courses(looks(0)), courses(looks(1.0))

    assert [one.grown() for one in steady] == [False, False, False, False]
    assert [one.grown() for one in growing] == [True, True, False, False]
    assert (growing[0].slope, growing[0].error) == pytest.approx((60, 0), abs=1e-6)
    assert growing[0].first < growing[0].last < growing[0].most == 799


def test_memory_is_judged_without_the_models_and_only_where_the_run_was_long_enough_to_fill_it() -> None:
    record = record_of([])
    record.looks = looks(2.0, 60)
    assert growth_objections(record) == []

    record.seconds = 300.0
    record.looks = looks(0, models=2.0)
    assert growth_objections(record) == []

    record.looks = looks(2.0)
    assert [line.split(" grew from ")[0] for line in growth_objections(record)] == ["memory without the models, MB"]


def test_a_short_run_may_fill_the_pools_and_a_long_one_has_filled_them() -> None:
    record = record_of([])

    def grown(threads: int) -> list[str]:
        record.looks = [Look(second, Usage(500, 30, 20 + threads * (second > 100))) for second in range(300)]
        return growth_objections(record)

    record.seconds = 15.0
    assert (grown(30), grown(80)) == ([], ["threads grew from 20 to 100"])
    record.seconds = 300.0
    assert grown(30) == ["threads grew from 20 to 50"]


def test_the_line_through_points_on_a_line_is_that_line() -> None:
    line = trend([(0, 1), (1, 3), (2, 5), (3, 7)]).times(10)

    assert (line.slope, line.error) == pytest.approx((20, 0), abs=1e-6)


def test_the_report_is_a_table_of_kinds_then_of_resources_then_what_failed() -> None:
    record = record_of(["soak-0-1"])
    record.looks = looks(0)
    record.fail(KIND, "soak-0-1", "wrong")

    lines = report(record)

    assert lines[0].startswith("1 requests from 1 clients in 1.0 minutes: 1 answered, 0 left on purpose, 0 lost, 1 fai")
    assert f"| {KIND.name} | 1 | {KIND.allowed} | 1 x 200 |" in lines
    assert "| threads | 20 | 20 | 20 | +0.00 ± 0.00 |" in lines
    assert lines[-1] == f"soak-0-1 ({KIND.name}): wrong"
