"""Reports of replicas, and what routers make of them."""

from __future__ import annotations

import pickle
from dataclasses import replace

from rerank.cluster.reports import replica_of, report_of
from rerank.cluster.routing import Held, Replica
from rerank.gateway.load import ModelLoad, ServerLoad
from rerank.registry.lifecycle import State

READY = ModelLoad(State.READY, 40, 1.5, load_seconds=3.0, bytes=100, idle_seconds=7.0, pinned=True)
LOAD = ServerLoad(
    {"ready": READY, "gone": ModelLoad(State.ABSENT, load_seconds=9.0), "new": ModelLoad(State.LOADING, 5, 4.0)},
    backlog_seconds=2.5,
    tokens_per_second=1000.0,
    free_bytes=300,
    budget_bytes=500,
)
REPORT = {
    "at": 12.0,
    "models": {
        "ready": {"backlog_seconds": 1.5, "loading": False, "bytes": 100, "idle_seconds": 7.0, "pinned": True},
        "new": {"backlog_seconds": 4.0, "loading": True, "bytes": 0, "idle_seconds": 0.0, "pinned": False},
    },
    "load_seconds": {"ready": 3.0, "gone": 9.0},
    "backlog_seconds": 2.5,
    "free_bytes": 300,
    "budget_bytes": 500,
    "tokens_per_second": 1000.0,
    "draining": False,
}


def test_a_report_has_models_in_memory_and_under_way_and_how_long_loads_took() -> None:
    assert report_of(LOAD, 12.0) == REPORT
    assert pickle.loads(pickle.dumps(report_of(LOAD, 12.0))) == REPORT


def test_a_router_takes_a_report_as_the_replica() -> None:
    assert replica_of("a", REPORT) == Replica(
        "a",
        {"ready": Held(1.5, False, 100, 7.0, True), "new": Held(4.0, True)},
        # the load under way included
        backlog_seconds=6.5,
        free_bytes=300,
        budget_bytes=500,
        draining=False,
        at=12.0,
    )


def test_a_replica_that_stops_is_known_to() -> None:
    assert replica_of("a", report_of(replace(LOAD, draining=True), 12.0)).draining


def test_a_replica_without_a_budget_has_boundless_room() -> None:
    found = replica_of("a", report_of(ServerLoad(), 12.0))
    assert (found.free_bytes, found.budget_bytes, found.backlog_seconds) == (2**62, None, 0.0)
    assert replica_of("a", report_of(ServerLoad(free_bytes=0), 12.0)).free_bytes == 0


def test_loads_one_after_another_have_their_own_times() -> None:
    models = {
        "third": ModelLoad(State.LOADING, backlog_seconds=9.0, pinned=True),
        "ready": ModelLoad(State.READY, backlog_seconds=1.0),
        "first": ModelLoad(State.LOADING, backlog_seconds=2.0, bytes=50),
        "second": ModelLoad(State.LOADING, backlog_seconds=6.0),
    }
    found = replica_of("a", report_of(ServerLoad(models, backlog_seconds=1.0), 12.0))
    assert found.models == {
        "third": Held(3.0, True, pinned=True),
        "ready": Held(1.0),
        "first": Held(2.0, True, 50),
        "second": Held(4.0, True),
    }
    assert (found.backlog_seconds, found.loading_seconds) == (10.0, 9.0)
