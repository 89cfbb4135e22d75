from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.gateway.admission import Admission, Work
from rerank.gateway.load import ModelLoad, ServerLoad, server_load
from rerank.registry.fleet import Row
from rerank.registry.lifecycle import State
from rerank.registry.registry import Registry
from tests.support.clock import Clock

RATE = 100


@dataclass
class Models:
    """What a registry says of its models."""

    in_memory: set[str] = field(default_factory=set)
    budget: dict[str, int] = field(default_factory=dict)
    arriving: dict[str, float] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)

    def rows(self) -> dict[str, Row]:
        return {name: Row(loaded_once=True) for name in self.measured} | {
            name: Row(State.READY, size={"gpu": 3, "cpu": 4}, last_used=0.0, leases=1, pinned=True)
            for name in self.in_memory
        }

    def arrivals(self) -> dict[str, float]:
        return self.arriving

    def load_seconds(self) -> dict[str, float]:
        return self.measured

    def free_bytes(self) -> dict[str, int]:
        return self.free


def load_of(admission: Admission, models: Models) -> ServerLoad:
    async def load() -> ServerLoad:
        return server_load(admission, cast(Registry, models))

    return asyncio.run(load())


def measured(clock: Clock, rate: int = RATE) -> Admission:
    """An admission that has seen three requests of a second each."""
    admission = Admission(Work(10**6, 10**9), clock)
    for _ in range(3):
        with admission.admit(Work(1, rate)) as place:
            clock.now += 1.0
            place.done()
    return admission


@pytest.fixture
def admission() -> Admission:
    return measured(Clock())


def test_an_idle_server_has_no_backlog(admission: Admission) -> None:
    models = Models({"a"}, {"gpu": 8, "cpu": 9}, measured={"a": 2.0, "b": 3.0}, free={"gpu": 7, "cpu": 5})
    assert load_of(admission, models) == ServerLoad(
        models={
            "a": ModelLoad(State.READY, load_seconds=2.0, bytes=7, idle_seconds=0.0, pinned=True),
            "b": ModelLoad(load_seconds=3.0),
        },
        tokens_per_second=RATE,
        free_bytes=5,
        budget_bytes=8,
    )


def test_a_server_that_shuts_down_says_so(admission: Admission) -> None:
    assert not load_of(admission, Models()).draining
    admission.close()
    assert load_of(admission, Models()).draining


def test_tokens_in_flight_take_their_time_at_the_measured_rate(admission: Admission) -> None:
    with admission.admit(Work(1, 300), models=["a"]), admission.admit(Work(1, 50), models=["b"]):
        load = load_of(admission, Models({"a", "b"}))
    assert {name: model.backlog_seconds for name, model in load.models.items()} == {"a": 3.0, "b": 0.5}
    assert (load.backlog_seconds, load.tokens, load.requests) == (3.5, 350, 2)
    assert not load_of(admission, Models()).models


def test_a_model_that_is_loading_takes_that_time_in_addition(admission: Admission) -> None:
    with admission.admit(Work(1, 300), models=["a"], waiting=True):
        load = load_of(admission, Models(arriving={"a": 20.0, "b": 30.0}))
    assert load.models["a"] == ModelLoad(tokens=300, backlog_seconds=23.0)
    assert load.models["b"] == ModelLoad(backlog_seconds=30.0)
    assert load.backlog_seconds == 3.0


def test_a_request_of_several_models_counts_for_each_in_part(admission: Admission) -> None:
    with admission.admit(Work(1, 302), models=["a", "b", "a"]):
        assert admission.tokens_of_models == {"a": 201, "b": 101}
    assert admission.tokens_of_models == {}


def test_before_a_rate_is_known_work_takes_as_long_again_as_it_has_taken() -> None:
    clock = Clock()
    admission = Admission(Work(10, 1000), clock)
    clock.now = 50.0
    with admission.admit(Work(1, 10), models=["a"]):
        clock.now = 57.0
        with admission.admit(Work(1, 10), models=["b"]):
            clock.now = 58.0
            load = load_of(admission, Models({"a"}))
    assert (load.tokens_per_second, load.backlog_seconds, load.models["a"].backlog_seconds) == (None, 8.0, 8.0)
    assert load_of(admission, Models()).backlog_seconds == 0.0


def test_the_last_rate_holds_until_another_is_known() -> None:
    clock = Clock()
    admission = measured(clock)
    clock.now = 5000.0
    with admission.admit(Work(1, 300), models=["a"]):
        assert load_of(admission, Models()).backlog_seconds == 3.0


NAMES = st.sampled_from(["a", "b", "c", "d"])


@given(
    requests=st.lists(st.tuples(st.integers(0, 10**6), st.lists(NAMES, min_size=1, max_size=3), st.booleans())),
    arriving=st.dictionaries(NAMES, st.floats(0, 1000)),
    rate=st.integers(1, 10**5),
)
def test_no_token_is_lost_and_no_load_is_left_out(
    requests: list[tuple[int, list[str], bool]], arriving: dict[str, float], rate: int
) -> None:
    admission, models = measured(Clock(), rate), Models(arriving=arriving)
    with ExitStack() as places:
        for tokens, names, waiting in requests:
            places.enter_context(admission.admit(Work(1, tokens), models=names, waiting=waiting))
        load = load_of(admission, models)
    assert sum(model.tokens for model in load.models.values()) == load.tokens == sum(each[0] for each in requests)
    assert load.backlog_seconds == pytest.approx(load.tokens / rate)
    for name, model in load.models.items():
        assert model.backlog_seconds == pytest.approx(arriving.get(name, 0.0) + model.tokens / rate)
    assert set(arriving) <= set(load.models)
    assert load_of(admission, Models()) == ServerLoad(tokens_per_second=rate)
