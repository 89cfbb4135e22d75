from __future__ import annotations

import gc
import logging
import math
import threading
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from rerank.core import PendingLogits
from rerank.errors import InvalidRequest, OutOfOrder, PairTooLarge, RerankError, ScoringFailed, ServerStopping
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.job import Job
from rerank.scheduling.memory import LearntLimits, Memory
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from tests.support.clock import Clock

from .scorers import WAIT, Answering, Echo, Gate, Kernels, Piece, answer, pieces


class Boom(BaseException):
    """Not an Exception: as a panic in native code, or an interrupt."""


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def scheduler(gate: Gate) -> Iterator[Scheduler]:
    scheduler = Scheduler(DeviceSpec("test", BatchBudget(pairs=4, tokens=1000)))
    yield scheduler
    gate.open()
    scheduler.stop(WAIT)


def raising(error: BaseException) -> Answering:
    def score(batch: Sequence[Any]) -> list[float]:
        raise error

    return Answering(score)


class TestAnswers:
    def test_logits_come_back_in_request_order(self, scheduler: Scheduler) -> None:
        wanted = [3.0, 1.0, 2.0, -1.0, 0.0, 9.0]
        job = scheduler.submit(
            (Echo(),), [Piece(tokens=10 + place % 3, logit=logit) for place, logit in enumerate(wanted)]
        )
        assert answer(job.future) == wanted

    def test_a_request_without_pairs_is_answered(self, scheduler: Scheduler) -> None:
        assert answer(scheduler.submit((Echo(),), []).future) == []

    def test_every_request_of_many_threads_gets_its_own_answer(self, scheduler: Scheduler) -> None:
        scorers = [Echo(), Echo()]
        wanted = [[float(number * 100 + place) for place in range(number % 7)] for number in range(120)]

        def ask(number: int) -> list[float]:
            pairs = [Piece(tokens=1 + number % 50, logit=logit) for logit in wanted[number]]
            return answer(scheduler.submit((scorers[number % 2],), pairs).future)

        with ThreadPoolExecutor(8) as callers:
            assert list(callers.map(ask, range(120))) == wanted

    def test_a_job_ends_exactly_once(self, scheduler: Scheduler) -> None:
        ends: list[None] = []
        job = scheduler.submit((Echo(),), pieces(30))
        job.future.add_done_callback(lambda _: ends.append(None))
        answer(job.future)
        answer(scheduler.submit((Echo(),), pieces(1)).future)
        assert len(ends) == 1

    def test_what_arrives_during_a_batch_shares_the_next_one(self, scheduler: Scheduler, gate: Gate) -> None:
        jobs = [scheduler.submit((gate,), pieces(1))]
        assert gate.entered.wait(WAIT)
        jobs += [scheduler.submit((gate,), pieces(1)), scheduler.submit((gate,), pieces(2))]
        gate.open()
        assert [len(answer(job.future)) for job in jobs] == [1, 1, 2]
        assert gate.passes == [1, 3]

    def test_says_how_many_pairs_wait(self, scheduler: Scheduler, gate: Gate) -> None:
        scheduler.submit((gate,), pieces(10))
        assert gate.entered.wait(WAIT)
        assert scheduler.waiting_pairs == 6

    def test_keeps_no_texts_once_they_are_answered(self, scheduler: Scheduler) -> None:
        forgotten = threading.Event()
        piece = Piece()
        weakref.finalize(piece, forgotten.set)
        answer(scheduler.submit((Echo(),), [piece]).future)
        del piece
        gc.collect()
        assert forgotten.wait(WAIT)


class TestCancelling:
    def test_cancelling_takes_waiting_pairs_out_of_the_line(self, scheduler: Scheduler, gate: Gate) -> None:
        running = scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        left = scheduler.submit((gate,), pieces(100))
        staying = scheduler.submit((gate,), pieces(2))
        assert left.future.cancel()
        assert scheduler.waiting_pairs == 2
        gate.open()
        assert (answer(running.future), answer(staying.future)) == ([0.0], [0.0, 1.0])
        assert gate.passes == [1, 2]

    def test_a_half_scored_request_is_not_scored_to_its_end(self, scheduler: Scheduler, gate: Gate) -> None:
        left = scheduler.submit((gate,), pieces(100))
        assert gate.entered.wait(WAIT)
        left.future.cancel()
        gate.open()
        assert answer(scheduler.submit((gate,), pieces(1)).future) == [0.0]
        assert gate.passes == [4, 1]


class TestUntilAMoment:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def scheduler(self, gate: Gate, clock: Clock) -> Iterator[Scheduler]:
        scheduler = Scheduler(DeviceSpec("test", BatchBudget(pairs=4, tokens=1000)), clock=clock)
        yield scheduler
        gate.open()
        scheduler.stop(WAIT)

    @staticmethod
    def submit(scheduler: Scheduler, gate: Gate, pairs: int, until: float) -> Job:
        job = scheduler.submit((gate,), pieces(pairs), until=until)
        job.complete()
        return job

    def test_nothing_is_begun_afterwards(self, scheduler: Scheduler, gate: Gate, clock: Clock) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        late, in_time = self.submit(scheduler, gate, 3, until=5.0), self.submit(scheduler, gate, 2, until=6.0)
        clock.now = 5.0
        gate.open()
        assert answer(late.future) == [None] * 3
        assert answer(in_time.future) == [0.0, 1.0]
        assert gate.passes == [1, 2]

    def test_a_request_ends_while_the_device_is_busy_with_others(self, scheduler: Scheduler, gate: Gate) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        job = self.submit(scheduler, gate, 3, until=5.0)
        scheduler.expire(job)
        assert answer(job.future) == [None] * 3
        assert scheduler.waiting_pairs == 0

    def test_the_running_batch_is_finished_and_counts(self, scheduler: Scheduler, gate: Gate) -> None:
        job = self.submit(scheduler, gate, 6, until=5.0)
        assert gate.entered.wait(WAIT)
        scheduler.expire(job)
        assert not job.future.done()
        gate.open()
        assert answer(job.future) == [0.0, 1.0, 2.0, 3.0, None, None]
        assert gate.passes == [4]

    def test_pairs_that_follow_are_scored_too(self, scheduler: Scheduler, gate: Gate) -> None:
        gate.open()
        job = scheduler.submit((gate,), (), until=5.0)
        for count in (1, 2):
            scheduler.extend(job, pieces(count))
        job.complete()
        assert answer(job.future) == [0.0, 0.0, 1.0]

    def test_a_batch_is_no_longer_than_the_time_that_is_left(
        self, scheduler: Scheduler, gate: Gate, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gate.open()
        monkeypatch.setattr(LearntLimits, "tokens_in", lambda _, __, seconds: int(seconds * 10))
        assert answer(self.submit(scheduler, gate, 6, until=0.25).future) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
        assert gate.passes == [2, 2, 2]

    def test_nothing_follows_after_a_stop(self, scheduler: Scheduler, gate: Gate) -> None:
        job = scheduler.submit((gate,), (), until=5.0)
        scheduler.stop(WAIT)
        with pytest.raises(ServerStopping):
            scheduler.extend(job, pieces(1))


class TestFailures:
    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ([], "0 results for 2 inputs"),
            ([1.0], "1 results for 2 inputs"),
            ([1.0, 2.0, 3.0], "3 results for 2 inputs"),
            ([1.0, math.nan], "not a finite number"),
            ([math.inf, 1.0], "not a finite number"),
            ([1.0, -math.inf], "not a finite number"),
        ],
    )
    def test_nonsense_is_never_passed_on(self, scheduler: Scheduler, scores: list[float], message: str) -> None:
        job = scheduler.submit((Answering(lambda _: scores),), pieces(2))
        with pytest.raises(ScoringFailed, match=message):
            answer(job.future)
        assert answer(scheduler.submit((Echo(),), pieces(1)).future) == [0.0]

    def test_a_raising_model_is_told_without_its_own_words(
        self, scheduler: Scheduler, caplog: pytest.LogCaptureFixture
    ) -> None:
        cause = RuntimeError("CUDA error near the text of a customer")
        with pytest.raises(ScoringFailed) as failure:
            answer(scheduler.submit((raising(cause),), pieces(2)).future)
        assert failure.value.message == "The model failed while scoring."
        assert failure.value.__cause__ is cause
        assert [record.levelno for record in caplog.records] == [logging.ERROR]

    def test_an_error_meant_for_callers_reaches_them_as_it_is(self, scheduler: Scheduler) -> None:
        error = InvalidRequest("too long for the memory of this device")
        assert scheduler.submit((raising(error),), pieces(1)).future.exception(WAIT) is error

    def test_fails_only_the_callers_of_its_batch(self, scheduler: Scheduler, gate: Gate) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        broken = raising(RuntimeError("broken"))
        failing = [scheduler.submit((broken,), pieces(2)), scheduler.submit((broken,), pieces(50))]
        sound = scheduler.submit((Echo(),), pieces(50))
        gate.open()
        assert len(answer(sound.future)) == 50
        assert [type(job.future.exception(WAIT)) for job in failing] == [ScoringFailed, ScoringFailed]

    def test_a_failed_request_is_not_scored_further(self, scheduler: Scheduler) -> None:
        passes: list[int] = []

        def score(batch: Sequence[Any]) -> list[float]:
            passes.append(len(batch))
            raise RuntimeError("broken")

        scorer = Answering(score)
        assert scheduler.submit((scorer,), pieces(100)).future.exception(WAIT)
        assert scheduler.submit((scorer,), pieces(1)).future.exception(WAIT)
        assert passes == [4, 1]


class TestStopping:
    def test_idle_threads_end_at_once(self, scheduler: Scheduler) -> None:
        assert scheduler.trouble is None
        scheduler.stop(WAIT)
        assert scheduler.trouble

    def test_the_running_batch_is_finished_and_the_rest_fails(self, scheduler: Scheduler, gate: Gate) -> None:
        running = scheduler.submit((gate,), pieces(4))
        assert gate.entered.wait(WAIT)
        waiting = [scheduler.submit((gate,), pieces(2)), scheduler.submit((Echo(),), pieces(2))]
        scheduler.stop(timeout=0)
        gate.open()
        assert answer(running.future) == [0.0, 1.0, 2.0, 3.0]
        assert [type(job.future.exception(WAIT)) for job in waiting] == [ServerStopping, ServerStopping]
        assert gate.passes == [4]

    def test_no_work_is_taken_afterwards(self, scheduler: Scheduler) -> None:
        scheduler.stop(WAIT)
        with pytest.raises(ServerStopping):
            scheduler.submit((Echo(),), pieces(1))

    def test_stopping_twice_is_no_mistake(self, scheduler: Scheduler) -> None:
        scheduler.stop(WAIT)
        scheduler.stop(WAIT)
        assert scheduler.trouble


def test_a_dying_thread_fails_all_who_wait_and_takes_no_more_work(scheduler: Scheduler, gate: Gate) -> None:
    scheduler.submit((gate,), pieces(1))
    assert gate.entered.wait(WAIT)
    dying = raising(Boom("native panic"))
    waiting = [
        scheduler.submit((dying,), pieces(1)),
        scheduler.submit((dying,), pieces(50)),
        scheduler.submit((Echo(),), pieces(2)),
    ]
    gate.open()
    assert all(isinstance(job.future.exception(WAIT), RerankError) for job in waiting)
    assert scheduler.trouble
    with pytest.raises(OutOfOrder, match="the scoring thread of test died; restart the server"):
        scheduler.submit((Echo(),), pieces(1))


@pytest.fixture
def kernels() -> Iterator[Kernels]:
    kernels = Kernels()
    yield kernels
    for running in kernels.started:
        running.end()


class TestPrefetch:
    def test_the_next_batch_starts_while_the_one_before_runs(self, scheduler: Scheduler, kernels: Kernels) -> None:
        job = scheduler.submit((kernels,), pieces(8))
        first, second = kernels.wait_for(2)
        assert first.asked.wait(WAIT)
        assert not job.future.done()
        first.end()
        second.end()
        assert answer(job.future) == [float(place) for place in range(8)]

    def test_at_most_one_is_ahead(self, scheduler: Scheduler, kernels: Kernels) -> None:
        job = scheduler.submit((kernels,), pieces(12))
        first, second = kernels.wait_for(2)
        assert first.asked.wait(WAIT)
        assert len(kernels.started) == 2
        first.end()
        third = kernels.wait_for(3)[2]
        assert second.asked.wait(WAIT)
        assert len(kernels.started) == 3
        second.end()
        third.end()
        assert len(answer(job.future)) == 12

    def test_a_batch_without_a_next_one_is_not_kept_waiting(self, scheduler: Scheduler, kernels: Kernels) -> None:
        job = scheduler.submit((kernels,), pieces(2))
        kernels.wait_for(1)[0].end()
        assert answer(job.future) == [0.0, 1.0]

    def test_a_batch_that_is_done_when_started_is_answered_before_the_one_that_runs(
        self, scheduler: Scheduler, kernels: Kernels, gate: Gate
    ) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        running = scheduler.submit((kernels,), pieces(1))
        done = scheduler.submit((Echo(),), pieces(1))
        gate.open()
        assert answer(done.future) == [0.0]
        assert not running.future.done()

    def test_a_next_batch_that_cannot_start_leaves_the_running_one_alone(
        self, scheduler: Scheduler, kernels: Kernels, gate: Gate
    ) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        running = scheduler.submit((kernels,), pieces(1))
        failing = scheduler.submit((raising(RuntimeError("no memory")),), pieces(1))
        gate.open()
        assert isinstance(failing.future.exception(WAIT), ScoringFailed)
        kernels.wait_for(1)[0].end()
        assert answer(running.future) == [0.0]

    def test_a_batch_that_fails_on_the_device_leaves_the_next_one_alone(
        self, scheduler: Scheduler, kernels: Kernels
    ) -> None:
        jobs = [scheduler.submit((kernels,), pieces(4))]
        first = kernels.wait_for(1)[0]
        jobs.append(scheduler.submit((kernels,), pieces(4)))
        first.end(RuntimeError("device-side assert"))
        kernels.wait_for(2)[1].end()
        assert isinstance(jobs[0].future.exception(WAIT), ScoringFailed)
        assert answer(jobs[1].future) == [0.0, 1.0, 2.0, 3.0]

    def test_both_batches_on_the_device_are_finished_at_a_stop(
        self, scheduler: Scheduler, kernels: Kernels, gate: Gate
    ) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        running, ahead, waiting = (scheduler.submit((kernels,), pieces(4)) for _ in range(3))
        gate.open()
        batches = kernels.wait_for(2)
        assert batches[0].asked.wait(WAIT)
        scheduler.stop(timeout=0)
        for batch in batches:
            batch.end()
        assert len(answer(running.future)) == len(answer(ahead.future)) == 4
        assert isinstance(waiting.future.exception(WAIT), ServerStopping)
        assert len(kernels.started) == 2

    def test_a_thread_that_dies_at_the_start_of_a_batch_fails_the_running_one_too(
        self, scheduler: Scheduler, kernels: Kernels, gate: Gate
    ) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        jobs = [scheduler.submit((model,), pieces(1)) for model in (kernels, raising(Boom("native panic")), kernels)]
        gate.open()
        assert all(isinstance(job.future.exception(WAIT), ScoringFailed) for job in jobs)
        assert scheduler.trouble

    def test_a_thread_that_dies_at_the_end_of_a_batch_fails_the_next_one_too(
        self, scheduler: Scheduler, kernels: Kernels, gate: Gate
    ) -> None:
        scheduler.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        jobs = [scheduler.submit((kernels,), pieces(4)) for _ in range(3)]
        gate.open()
        kernels.wait_for(2)[0].end(Boom("native panic"))
        assert [type(job.future.exception(WAIT)) for job in jobs] == [ScoringFailed, ScoringFailed, OutOfOrder]
        assert scheduler.trouble


def test_batches_grow_where_they_are_measured_to_be_quick(gate: Gate) -> None:
    gate.open()
    scheduler = Scheduler(DeviceSpec("test", BatchBudget(pairs=4, tokens=1000), quick_seconds=60))
    for count in (4, 30):
        assert len(answer(scheduler.submit((gate,), pieces(count)).future)) == count
    scheduler.stop(WAIT)
    assert gate.passes == [4, 30]


class TestMemory:
    def test_a_batch_takes_no_more_than_half_of_what_is_free(self, gate: Gate) -> None:
        gate.bytes_per_token = 100
        gate.open()
        free = iter([600, 10_000, 0, 10**9])
        scheduler = Scheduler(DeviceSpec("test", BatchBudget(pairs=4, tokens=1000), Memory(lambda: next(free))))
        assert len(answer(scheduler.submit((gate,), pieces(12)).future)) == 12
        scheduler.stop(WAIT)
        assert gate.passes == [3, 4, 1, 4]


@pytest.fixture
def pair_of_devices() -> Iterator[Scheduler]:
    scheduler = Scheduler(*(DeviceSpec(name, BatchBudget(pairs=4, tokens=1000)) for name in ("one", "two")))
    yield scheduler
    scheduler.stop(WAIT)


class TestSeveralDevices:
    def test_several_devices_share_one_request(self, pair_of_devices: Scheduler) -> None:
        gates = Gate(), Gate()
        job = pair_of_devices.submit(gates, pieces(8))
        assert all(gate.entered.wait(WAIT) for gate in gates)
        for gate in gates:
            gate.open()
        assert answer(job.future) == [float(place) for place in range(8)]
        assert [gate.passes for gate in gates] == [[4], [4]]

    def test_a_busy_device_leaves_the_next_batch_to_an_idle_one(self, pair_of_devices: Scheduler) -> None:
        replicas = Kernels(), Kernels()
        job = pair_of_devices.submit(replicas, pieces(8))
        batches = [kernels.wait_for(1)[0] for kernels in replicas]
        for batch in batches:
            batch.end()
        assert len(answer(job.future)) == 8

    def test_every_request_of_many_threads_gets_its_own_answer(self, pair_of_devices: Scheduler) -> None:
        replicas = Echo(), Echo()
        wanted = [[float(number * 100 + place) for place in range(number % 7)] for number in range(120)]

        def ask(number: int) -> list[float]:
            return answer(pair_of_devices.submit(replicas, [Piece(3, logit) for logit in wanted[number]]).future)

        with ThreadPoolExecutor(8) as callers:
            assert list(callers.map(ask, range(120))) == wanted

    def test_one_that_dies_leaves_the_others_working(self, pair_of_devices: Scheduler) -> None:
        dying, healthy = Gate(), Gate()
        running = pair_of_devices.submit((dying, healthy), pieces(8))
        assert dying.entered.wait(WAIT)
        assert healthy.entered.wait(WAIT)
        failing = pair_of_devices.submit((raising(Boom("native panic")), Echo()), pieces(1))
        dying.open()
        assert isinstance(failing.future.exception(WAIT), ScoringFailed)
        healthy.open()
        assert len(answer(running.future)) == 8
        assert answer(pair_of_devices.submit((Echo(), Echo()), pieces(20)).future)[-1] == 19.0
        assert pair_of_devices.trouble is None

    def test_with_all_dead_every_waiter_fails(self, pair_of_devices: Scheduler) -> None:
        dying = raising(Boom("native panic"))
        gates = Gate(), Gate()
        running = pair_of_devices.submit(gates, pieces(8))
        assert all(gate.entered.wait(WAIT) for gate in gates)
        waiting = [pair_of_devices.submit((dying, dying), pieces(4)) for _ in range(5)]
        for gate in gates:
            gate.open()
        assert len(answer(running.future)) == 8
        assert sorted(type(job.future.exception(WAIT)).__name__ for job in waiting) == [
            *["OutOfOrder"] * 3,
            *["ScoringFailed"] * 2,
        ]
        with pytest.raises(OutOfOrder, match=r"of one died.*; the scoring thread of two died"):
            pair_of_devices.submit(gates, pieces(1))
        assert pair_of_devices.trouble


class Small(Echo):
    """Runs out of memory on more than ``room`` tokens; notes the tokens of every batch it was given."""

    def __init__(self, room: int, *, late: bool = False) -> None:
        super().__init__(padded=False)
        self.room = room
        self.late = late
        self.given: list[int] = []

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        self.given.append(sum(piece.tokens for piece in batch))
        if self.given[-1] <= self.room:
            return super().start(batch)
        error = MemoryError("no room")
        if not self.late:
            raise error
        return Late(error)


class Late:
    """A batch that fails when its logits are asked for, as a GPU's does."""

    done = False

    def __init__(self, error: Exception) -> None:
        self._error = error

    def result(self) -> list[float]:
        raise self._error


@pytest.mark.parametrize("late", [False, True])
class TestRunningOutOfMemory:
    @pytest.fixture
    def room_made(self) -> list[None]:
        return []

    @pytest.fixture
    def tight(self, room_made: list[None]) -> Iterator[Scheduler]:
        memory = Memory(make_room=lambda: room_made.append(None))
        scheduler = Scheduler(DeviceSpec("test", BatchBudget(pairs=16, tokens=1000), memory))
        yield scheduler
        scheduler.stop(WAIT)

    def test_a_batch_too_large_is_scored_in_parts(
        self, tight: Scheduler, room_made: list[None], late: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        scorer = Small(room=30, late=late)

        job = tight.submit((scorer,), pieces(16, tokens=10))

        assert answer(job.future) == [float(place) for place in range(16)]
        assert scorer.given == [160, 80, 40, 20, 20, 40, 20, 20, 80, 40, 20, 20, 40, 20, 20]
        assert len(room_made) == 7
        assert "16 pairs ran out of memory; maximum from now on: 80 tokens" in caplog.text

    def test_what_was_learnt_is_kept(self, tight: Scheduler, late: bool) -> None:
        scorer = Small(room=30, late=late)
        answer(tight.submit((scorer,), pieces(16, tokens=10)).future)
        scorer.given.clear()

        answer(tight.submit((scorer,), pieces(8, tokens=10)).future)

        assert scorer.given == [20, 20, 20, 20]

    def test_other_models_keep_their_batches(self, tight: Scheduler, late: bool) -> None:
        small, large = Small(room=30, late=late), Small(room=1000)
        answer(tight.submit((small,), pieces(16, tokens=10)).future)
        answer(tight.submit((large,), pieces(16, tokens=10)).future)

        assert large.given == [160]

    def test_a_pair_that_does_not_fit_alone_fails_only_its_own_request(
        self, tight: Scheduler, gate: Gate, late: bool
    ) -> None:
        scorer = Small(room=30, late=late)
        held = tight.submit((gate,), pieces(1))
        assert gate.entered.wait(WAIT)
        fitting = tight.submit((scorer,), pieces(3, tokens=10))
        large = tight.submit((scorer,), [Piece(10), Piece(500), Piece(10)])
        gate.open()

        with pytest.raises(PairTooLarge, match=r"documents\.1 with the query \(500 tokens\) does not fit") as caught:
            answer(large.future)
        assert caught.value.index == 1
        assert answer(fitting.future) == [0.0, 1.0, 2.0]
        assert answer(held.future) == [0.0]

    def test_room_made_in_between_saves_the_pair(self, late: bool) -> None:
        scorer = Small(room=30, late=late)

        def make_room() -> None:
            scorer.room = 500

        scheduler = Scheduler(DeviceSpec("test", BatchBudget(pairs=4, tokens=1000), Memory(make_room=make_room)))
        assert answer(scheduler.submit((scorer,), [Piece(400, 7.0)]).future) == [7.0]
        scheduler.stop(WAIT)

    def test_another_error_on_the_way_down_is_told(self, tight: Scheduler, late: bool) -> None:
        class Broken(Small):
            def start(self, batch: Sequence[Any]) -> PendingLogits:
                if len(batch) == 1:
                    raise ValueError("something else")
                return super().start(batch)

        with pytest.raises(ScoringFailed):
            answer(tight.submit((Broken(room=0, late=late),), pieces(2, tokens=10)).future)
        assert answer(tight.submit((Echo(),), pieces(1)).future) == [0.0]
