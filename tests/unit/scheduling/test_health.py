from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from rerank.core import PendingLogits
from rerank.errors import OutOfOrder, ScoringFailed, ServerStopping
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.health import Health
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from tests.support.clock import Clock

from .scorers import WAIT, Answering, Echo, Gate, answer, pieces

STUCK = "one is stuck: its batch has run for more than 60 s"


def health(*names: str) -> Health:
    return Health(names or ("one",), patience=60)


def watch(health: Health, until: float, since: float = 0.0) -> dict[str, bool]:
    """Look every second; all the news."""
    news: dict[str, bool] = {}
    while since < until:
        since += 1
        news |= health.look(since)
    return news


class TestStuck:
    def test_stuck_is_a_device_that_is_at_one_batch_for_longer_than_patience(self) -> None:
        one = health()
        one.begin(0, 0.0)
        assert watch(one, 60) == {}
        assert one.trouble is None
        assert one.look(60.5) == {"one": True}
        assert one.trouble == STUCK

    def test_stuck_is_news_once(self) -> None:
        one = health()
        one.begin(0, 0.0)
        assert watch(one, 61) == {"one": True}
        assert watch(one, 100, since=61) == {}

    def test_stuck_is_not_a_device_at_one_batch_after_another(self) -> None:
        one = health()
        for moment in range(0, 200, 50):
            one.begin(0, float(moment))
            assert watch(one, moment + 50, since=moment) == {}

    def test_stuck_is_not_a_device_that_rests(self) -> None:
        one = health()
        one.begin(0, 0.0)
        one.rest(0)
        assert watch(one, 1000) == {}

    def test_stuck_is_no_longer_a_device_that_came_back(self) -> None:
        one = health()
        one.begin(0, 0.0)
        watch(one, 61)
        one.rest(0)
        assert one.look(62) == {"one": False}
        assert one.trouble is None

    def test_stuck_leaves_out_the_time_in_which_the_whole_process_stood_still(self) -> None:
        one = health()
        watch(one, 10)
        one.begin(0, 10.0)
        assert one.look(5000) == {}
        assert watch(one, 5060, since=5000) == {}
        assert one.look(5061) == {"one": True}

    def test_stuck_is_not_a_device_that_rested_while_the_whole_process_stood_still(self) -> None:
        one = health()
        one.look(0)
        assert one.look(5000) == {}
        one.begin(0, 5000)
        assert one.look(5009) == {}


class TestTrouble:
    def test_trouble_is_only_where_no_device_works(self) -> None:
        both = health("one", "two")
        both.lose(1, "two fell off the bus")
        assert both.trouble is None
        assert both.working() == {"one": True, "two": False}
        both.begin(0, 0.0)
        watch(both, 61)
        assert both.trouble == f"{STUCK}; two fell off the bus"

    def test_trouble_keeps_the_first_reason(self) -> None:
        one = health()
        one.lose(0, "it fell off the bus")
        one.lose(0, "its thread ended")
        assert one.trouble == "it fell off the bus"

    def test_a_lost_device_stays_lost_even_if_it_was_stuck(self) -> None:
        one = health()
        one.begin(0, 0.0)
        watch(one, 61)
        one.lose(0, "it fell off the bus")
        one.rest(0)
        assert one.look(62) == {}
        assert one.trouble == "it fell off the bus"

    def test_lost_devices_leave_no_work_to_others(self) -> None:
        both = health("one", "two")
        both.begin(0, 0.0)
        assert not both.all_busy
        both.lose(1, "it fell off the bus")
        assert both.all_busy


class Failing(Gate):
    """Raises once the gate opens."""

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        super().start(batch)
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


class Pair:
    """A scheduler of two devices, each of which breaks for good when the test says so."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.lost: set[str] = set()
        devices = [
            DeviceSpec(name, BatchBudget(4, 1000), is_lost=partial(self.lost.__contains__, name))
            for name in ("one", "two")
        ]
        self.scheduler = Scheduler(*devices, patience=60, clock=self.clock)

    def pass_by(self, seconds: int) -> None:
        """Look each second."""
        for _ in range(seconds):
            self.clock.now += 1
            self.scheduler.look()


@pytest.fixture
def pair() -> Iterator[Pair]:
    pair = Pair()
    yield pair
    pair.scheduler.stop(WAIT)


class TestDevices:
    def test_one_that_hangs_leaves_the_work_to_the_other(self, pair: Pair) -> None:
        gates = Gate(), Gate()
        held = pair.scheduler.submit(gates, pieces(8))
        assert all(gate.entered.wait(WAIT) for gate in gates)
        gates[1].open()
        job = pair.scheduler.submit((Echo(), Echo()), pieces(10))
        assert len(answer(job.future)) == 10
        pair.pass_by(61)
        assert pair.scheduler.working() == {"one": False, "two": True}
        assert len(answer(pair.scheduler.submit((Echo(), Echo()), pieces(2)).future)) == 2
        gates[0].open()
        assert len(answer(held.future)) == 8

    def test_with_all_hanging_those_in_line_are_told_and_nobody_gets_in(
        self, pair: Pair, caplog: pytest.LogCaptureFixture
    ) -> None:
        gates = Gate(), Gate()
        held = pair.scheduler.submit(gates, pieces(8))
        assert all(gate.entered.wait(WAIT) for gate in gates)
        waiting = pair.scheduler.submit((Echo(), Echo()), pieces(1))
        with caplog.at_level(logging.WARNING):
            pair.pass_by(100)
        assert [record.getMessage() for record in caplog.records] == [
            "one is stuck: its batch has run for more than 60 s",
            "two is stuck: its batch has run for more than 60 s",
        ]
        assert isinstance(waiting.future.exception(WAIT), OutOfOrder)
        with pytest.raises(OutOfOrder, match=STUCK):
            pair.scheduler.submit((Echo(), Echo()), pieces(1))
        for gate in gates:
            gate.open()
        assert len(answer(held.future)) == 8

    def test_who_waits_for_one_that_hangs_is_told_at_a_stop(self, pair: Pair) -> None:
        gates = Gate(), Gate()
        pair.scheduler.submit(gates, pieces(8))
        assert all(gate.entered.wait(WAIT) for gate in gates)
        waiting = pair.scheduler.submit((Echo(), Echo()), pieces(1))
        pair.scheduler.stop(timeout=0)
        assert isinstance(waiting.future.exception(WAIT), ServerStopping)
        for gate in gates:
            gate.open()

    def test_one_that_is_lost_takes_no_more_batches(self, pair: Pair) -> None:
        dying, healthy = Failing(), Gate()
        job = pair.scheduler.submit((dying, healthy), pieces(8))
        assert dying.entered.wait(WAIT)
        assert healthy.entered.wait(WAIT)
        pair.lost.add("one")
        dying.open()
        assert isinstance(job.future.exception(WAIT), ScoringFailed)
        pair.scheduler.check_all()
        healthy.open()
        assert len(answer(pair.scheduler.submit((dying, Echo()), pieces(50)).future)) == 50
        assert dying.passes == [4]
        assert pair.scheduler.working() == {"one": False, "two": True}

    def test_with_all_lost_those_in_line_are_told_why(self, pair: Pair) -> None:
        gates = Failing(), Failing()
        running = pair.scheduler.submit(gates, pieces(8))
        assert all(gate.entered.wait(WAIT) for gate in gates)
        waiting = pair.scheduler.submit((Echo(), Echo()), pieces(1))
        pair.lost |= {"one", "two"}
        for gate in gates:
            gate.open()
        assert isinstance(running.future.exception(WAIT), ScoringFailed)
        told = waiting.future.exception(WAIT)
        assert isinstance(told, OutOfOrder)
        assert "every call to one fails since an error on it; restart the server" in told.message
        with pytest.raises(OutOfOrder):
            pair.scheduler.submit((Echo(), Echo()), pieces(1))

    def test_a_failure_alone_is_no_loss(self, pair: Pair) -> None:
        def fail(_: object) -> list[float]:
            raise RuntimeError("CUDA error: invalid argument")

        failing = pair.scheduler.submit((Answering(fail), Answering(fail)), pieces(1))
        assert isinstance(failing.future.exception(WAIT), ScoringFailed)
        assert pair.scheduler.working() == {"one": True, "two": True}
