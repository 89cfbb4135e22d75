"""The order of replicas for a wish."""

from __future__ import annotations

from typing import Any

import pytest

from rerank.cluster.desk import Desk
from rerank.cluster.reports import report_of
from rerank.cluster.wishes import Wish
from rerank.gateway.load import ModelLoad, ServerLoad
from rerank.registry.lifecycle import State
from tests.support.clock import Clock

MODEL = "acme/words"
GIB = 1024**3


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk(clock)


def report(clock: Clock, *models: str, backlog: float = 0.0, free: int = GIB) -> dict[str, Any]:
    ready = {name: ModelLoad(State.READY, load_seconds=2.0, bytes=100, idle_seconds=1.0) for name in models}
    load = ServerLoad(ready, backlog, tokens_per_second=1000.0, free_bytes=free, budget_bytes=2 * GIB)
    return report_of(load, clock())


def test_the_replica_that_has_the_model_is_first(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock), "b": report(clock, MODEL), "c": report(clock)})
    assert desk.order(Wish(MODEL, 100), desk.names)[0] == "b"


def test_a_cold_model_goes_where_there_is_room(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, free=GIB // 2), "b": report(clock, free=GIB)})
    assert desk.order(Wish(MODEL, 100), desk.names)[0] == "b"


def test_a_burst_for_a_cold_model_has_one_replica_load_it(desk: Desk, clock: Clock) -> None:
    desk.report({name: report(clock) for name in "abc"})
    firsts = set()
    for _ in range(20):
        wish = Wish(MODEL, 100)
        firsts.add(desk.order(wish, desk.names)[0])
        desk.sent(wish, desk.order(wish, desk.names)[0])
    assert len(firsts) == 1


def test_a_second_copy_is_loaded_once_the_first_is_far_behind(desk: Desk, clock: Clock) -> None:
    loads: list[tuple[str, str]] = []
    desk.load = lambda replica, model: loads.append((replica, model))
    desk.report({"a": report(clock, MODEL, backlog=1.5), "b": report(clock)})
    wish = Wish(MODEL, 100, tokens=100)
    assert desk.order(wish, desk.names)[0] == "a"
    desk.sent(wish, "a")
    assert loads == [("b", MODEL)]


def test_a_copy_that_nobody_can_load_ahead_changes_nothing(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, MODEL, backlog=1.5), "b": report(clock)})
    wish = Wish(MODEL, 100, tokens=100)
    desk.sent(wish, "a")
    assert wish.tried == ["a"]


def test_what_was_sent_to_a_replica_keeps_it_busy_for_its_tokens(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, MODEL), "b": report(clock, MODEL)})
    first, second = desk.order(Wish(MODEL, 100), desk.names)
    # a second of work at 1,000 tokens per second
    desk.sent(Wish(MODEL, 100, tokens=1000), first)
    assert desk.order(Wish(MODEL, 100), desk.names) == [second, first]
    desk.sent(Wish(MODEL, 100, tokens=3000), second)
    assert desk.order(Wish(MODEL, 100), desk.names) == [first, second]


def test_what_is_sent_to_a_replica_of_unknown_speed_takes_no_time(desk: Desk, clock: Clock) -> None:
    slow = report(clock, MODEL) | {"tokens_per_second": None}
    desk.report({"a": slow, "b": slow})
    first, second = desk.order(Wish(MODEL, 100), desk.names)
    desk.sent(Wish(MODEL, 100, tokens=1000), first)
    assert desk.order(Wish(MODEL, 100), desk.names) == [first, second]


def test_a_request_for_one_replica_is_no_reason_to_load_elsewhere(desk: Desk, clock: Clock) -> None:
    loads: list[tuple[str, str]] = []
    desk.load = lambda replica, model: loads.append((replica, model))
    desk.report({"a": report(clock, MODEL, backlog=1.5), "b": report(clock)})
    desk.sent(Wish(MODEL, 100, tokens=100, only="a"), "a")
    desk.sent(Wish(None), "a")
    assert loads == []


def test_a_replica_that_comes_back_is_unknown_until_it_reports(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, MODEL), "b": report(clock)})
    assert desk.order(Wish(MODEL, 100), desk.names) == ["a", "b"]
    desk.report({"b": report(clock)})
    desk.report({"a": {}, "b": report(clock)})
    assert desk.order(Wish(MODEL, 100), desk.names) == ["b", "a"]


def test_a_replica_that_was_tried_comes_last(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, MODEL), "b": report(clock), "c": report(clock)})
    wish = Wish(MODEL, 100)
    desk.sent(wish, "a")
    assert "a" not in desk.order(wish, desk.names)
    wish.tried.extend("bc")
    assert sorted(desk.order(wish, desk.names)) == ["a", "b", "c"]


def test_one_replica_alone_may_be_meant(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, MODEL), "b": report(clock)})
    assert desk.order(Wish(MODEL, only="b"), desk.names) == ["b"]
    assert set(desk.order(Wish(MODEL, only="gone"), desk.names)) == {"a", "b"}


def test_a_replica_that_has_not_reported_yet_is_still_asked(desk: Desk, clock: Clock) -> None:
    desk.report({"a": {}, "b": {}})
    assert sorted(desk.order(Wish(MODEL, 100), desk.names)) == ["a", "b"]


def test_a_report_of_another_version_leaves_the_replica_in_use(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, MODEL), "b": {"at": 0.0, "other": 1}})
    desk.report({"a": {"models": {MODEL: {"unknown": 1}}}, "b": report(clock, MODEL)})
    assert desk.order(Wish(MODEL, 100), desk.names) == ["b", "a"]


def test_a_replica_that_is_gone_is_forgotten(desk: Desk, clock: Clock) -> None:
    desk.report({"a": report(clock, MODEL), "b": report(clock)})
    desk.report({"b": report(clock)})
    assert desk.names == ("b",)
    assert desk.order(Wish(MODEL, 100), desk.names) == ["b"]


def test_equal_queries_meet_the_same_replica(desk: Desk, clock: Clock) -> None:
    desk.report({name: report(clock, MODEL) for name in "abcd"})
    orders = {query: desk.order(Wish(MODEL, 100, affinity=query), desk.names)[0] for query in map(str, range(50))}
    assert all(desk.order(Wish(MODEL, 100, affinity=query), desk.names)[0] == first for query, first in orders.items())
    assert set(orders.values()) == set("abcd")
