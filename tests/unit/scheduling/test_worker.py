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

from rerank.errors import InvalidRequest, RerankError, ScoringFailed, ServerStopping
from rerank.scheduling.line import BatchBudget
from rerank.scheduling.worker import DeviceWorker

from .scorers import WAIT, Answering, Echo, Gate, Piece, answer, pieces


class Boom(BaseException):
    """Not an Exception: as a panic in native code, or an interrupt."""


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.fixture
def worker(gate: Gate) -> Iterator[DeviceWorker]:
    worker = DeviceWorker("test", BatchBudget(pairs=4, tokens=1000))
    yield worker
    gate.open()
    worker.stop(WAIT)


def raising(error: BaseException) -> Answering:
    def score(batch: Sequence[Any]) -> list[float]:
        raise error

    return Answering(score)


class TestAnswers:
    def test_logits_come_back_in_request_order(self, worker: DeviceWorker) -> None:
        wanted = [3.0, 1.0, 2.0, -1.0, 0.0, 9.0]
        job = worker.submit(Echo(), [Piece(tokens=10 + place % 3, logit=logit) for place, logit in enumerate(wanted)])
        assert answer(job.future) == wanted

    def test_a_request_without_pairs_is_answered(self, worker: DeviceWorker) -> None:
        assert answer(worker.submit(Echo(), []).future) == []

    def test_every_request_of_many_threads_gets_its_own_answer(self, worker: DeviceWorker) -> None:
        scorers = [Echo(), Echo()]
        wanted = [[float(number * 100 + place) for place in range(number % 7)] for number in range(120)]

        def ask(number: int) -> list[float]:
            pairs = [Piece(tokens=1 + number % 50, logit=logit) for logit in wanted[number]]
            return answer(worker.submit(scorers[number % 2], pairs).future)

        with ThreadPoolExecutor(8) as callers:
            assert list(callers.map(ask, range(120))) == wanted

    def test_a_job_ends_exactly_once(self, worker: DeviceWorker) -> None:
        ends: list[None] = []
        job = worker.submit(Echo(), pieces(30))
        job.future.add_done_callback(lambda _: ends.append(None))
        answer(job.future)
        answer(worker.submit(Echo(), pieces(1)).future)
        assert len(ends) == 1

    def test_what_arrives_during_a_batch_shares_the_next_one(self, worker: DeviceWorker, gate: Gate) -> None:
        jobs = [worker.submit(gate, pieces(1))]
        assert gate.entered.wait(WAIT)
        jobs += [worker.submit(gate, pieces(1)), worker.submit(gate, pieces(2))]
        gate.open()
        assert [len(answer(job.future)) for job in jobs] == [1, 1, 2]
        assert gate.passes == [1, 3]

    def test_says_how_many_pairs_wait(self, worker: DeviceWorker, gate: Gate) -> None:
        worker.submit(gate, pieces(10))
        assert gate.entered.wait(WAIT)
        assert worker.waiting_pairs == 6

    def test_keeps_no_texts_once_they_are_answered(self, worker: DeviceWorker) -> None:
        forgotten = threading.Event()
        piece = Piece()
        weakref.finalize(piece, forgotten.set)
        answer(worker.submit(Echo(), [piece]).future)
        del piece
        gc.collect()
        assert forgotten.wait(WAIT)


class TestCancelling:
    def test_takes_waiting_pairs_out_of_the_line(self, worker: DeviceWorker, gate: Gate) -> None:
        running = worker.submit(gate, pieces(1))
        assert gate.entered.wait(WAIT)
        left = worker.submit(gate, pieces(100))
        staying = worker.submit(gate, pieces(2))
        assert left.future.cancel()
        assert worker.waiting_pairs == 2
        gate.open()
        assert (answer(running.future), answer(staying.future)) == ([0.0], [0.0, 1.0])
        assert gate.passes == [1, 2]

    def test_a_half_scored_request_is_not_scored_to_its_end(self, worker: DeviceWorker, gate: Gate) -> None:
        left = worker.submit(gate, pieces(100))
        assert gate.entered.wait(WAIT)
        left.future.cancel()
        gate.open()
        assert answer(worker.submit(gate, pieces(1)).future) == [0.0]
        assert gate.passes == [4, 1]


class TestFailures:
    @pytest.mark.parametrize(
        ("scores", "message"),
        [
            ([], "0 scores for 2 pairs"),
            ([1.0], "1 scores for 2 pairs"),
            ([1.0, 2.0, 3.0], "3 scores for 2 pairs"),
            ([1.0, math.nan], "not a finite number"),
            ([math.inf, 1.0], "not a finite number"),
            ([1.0, -math.inf], "not a finite number"),
        ],
    )
    def test_nonsense_is_never_passed_on(self, worker: DeviceWorker, scores: list[float], message: str) -> None:
        job = worker.submit(Answering(lambda _: scores), pieces(2))
        with pytest.raises(ScoringFailed, match=message):
            answer(job.future)
        assert answer(worker.submit(Echo(), pieces(1)).future) == [0.0]

    def test_a_raising_model_is_told_without_its_own_words(
        self, worker: DeviceWorker, caplog: pytest.LogCaptureFixture
    ) -> None:
        cause = RuntimeError("CUDA error near the text of a customer")
        with pytest.raises(ScoringFailed) as failure:
            answer(worker.submit(raising(cause), pieces(2)).future)
        assert failure.value.message == "The model failed while scoring."
        assert failure.value.__cause__ is cause
        assert [record.levelno for record in caplog.records] == [logging.ERROR]

    def test_an_error_meant_for_callers_reaches_them_as_it_is(self, worker: DeviceWorker) -> None:
        error = InvalidRequest("too long for the memory of this device")
        assert worker.submit(raising(error), pieces(1)).future.exception(WAIT) is error

    def test_fails_only_the_callers_of_its_batch(self, worker: DeviceWorker, gate: Gate) -> None:
        worker.submit(gate, pieces(1))
        assert gate.entered.wait(WAIT)
        broken = raising(RuntimeError("broken"))
        failing = [worker.submit(broken, pieces(2)), worker.submit(broken, pieces(50))]
        sound = worker.submit(Echo(), pieces(50))
        gate.open()
        assert len(answer(sound.future)) == 50
        assert [type(job.future.exception(WAIT)) for job in failing] == [ScoringFailed, ScoringFailed]

    def test_a_failed_request_is_not_scored_further(self, worker: DeviceWorker) -> None:
        passes: list[int] = []

        def score(batch: Sequence[Any]) -> list[float]:
            passes.append(len(batch))
            raise RuntimeError("broken")

        scorer = Answering(score)
        assert worker.submit(scorer, pieces(100)).future.exception(WAIT)
        assert worker.submit(scorer, pieces(1)).future.exception(WAIT)
        assert passes == [4, 1]


class TestStopping:
    def test_an_idle_worker_ends_at_once(self, worker: DeviceWorker) -> None:
        assert worker.alive
        worker.stop(WAIT)
        assert not worker.alive

    def test_the_running_batch_is_finished_and_the_rest_fails(self, worker: DeviceWorker, gate: Gate) -> None:
        running = worker.submit(gate, pieces(4))
        assert gate.entered.wait(WAIT)
        waiting = [worker.submit(gate, pieces(2)), worker.submit(Echo(), pieces(2))]
        worker.stop(timeout=0)
        gate.open()
        assert answer(running.future) == [0.0, 1.0, 2.0, 3.0]
        assert [type(job.future.exception(WAIT)) for job in waiting] == [ServerStopping, ServerStopping]
        assert gate.passes == [4]

    def test_no_work_is_taken_afterwards(self, worker: DeviceWorker) -> None:
        worker.stop(WAIT)
        with pytest.raises(ServerStopping):
            worker.submit(Echo(), pieces(1))

    def test_stopping_twice_is_no_mistake(self, worker: DeviceWorker) -> None:
        worker.stop(WAIT)
        worker.stop(WAIT)
        assert not worker.alive


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_dying_thread_fails_all_who_wait_and_takes_no_more_work(worker: DeviceWorker, gate: Gate) -> None:
    worker.submit(gate, pieces(1))
    assert gate.entered.wait(WAIT)
    dying = raising(Boom("native panic"))
    waiting = [worker.submit(dying, pieces(1)), worker.submit(dying, pieces(50)), worker.submit(Echo(), pieces(2))]
    gate.open()
    assert all(isinstance(job.future.exception(WAIT), RerankError) for job in waiting)
    assert not worker.alive
    with pytest.raises(ScoringFailed, match="restart"):
        worker.submit(Echo(), pieces(1))
