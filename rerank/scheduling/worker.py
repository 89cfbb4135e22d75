"""One thread that owns a device: it takes a batch the moment the device is free, scores it, and answers every pair."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence

from rerank.errors import RerankError, ScoringFailed, ServerStopping
from rerank.scheduling.line import BatchBudget, HasTokens, Job, Line, ScoresBatches, Slot

logger = logging.getLogger(__name__)


class DeviceWorker:
    """Scores the pairs of all waiting requests, batch after batch, on a thread of its own."""

    def __init__(self, name: str, budget: BatchBudget) -> None:
        self._budget = budget
        self._line = Line()
        self._changed = threading.Condition()
        self._stopping = False
        self._dead = False
        # a daemon, so that a hanging kernel cannot keep the process from exiting
        self._thread = threading.Thread(target=self._run, name=f"device-{name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """False once the thread has ended, on purpose or not."""
        return self._thread.is_alive() and not self._dead

    @property
    def waiting_pairs(self) -> int:
        """Pairs in line that no batch has taken."""
        with self._changed:
            return self._line.waiting_pairs()

    def submit(self, scorer: ScoresBatches, pairs: Sequence[HasTokens]) -> Job:
        """Put a request's encoded pairs in line. Cancel ``job.future`` to take the waiting ones out again."""
        job = Job(scorer, pairs)
        with self._changed:
            if self._stopping:
                raise ServerStopping("The server is shutting down.")
            if self._dead:
                raise ScoringFailed("The scoring thread has died; restart the server.")
            self._line.add(job)
            self._changed.notify()
        return job

    def stop(self, timeout: float | None = None) -> None:
        """Finish the running batch, fail what waits, end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(timeout)

    def _run(self) -> None:
        try:
            while batch := self._wait_for_batch():
                score_batch(batch)
                # a batch kept in a local variable would hold the last request's texts until the next one comes
                del batch
        finally:
            self._fail_waiting()

    def _wait_for_batch(self) -> list[Slot]:
        """The next batch, as soon as there is one; empty when the worker is to end."""
        with self._changed:
            while not self._stopping:
                if batch := self._line.next_batch(self._budget):
                    return batch
                self._changed.wait()
        return []

    def _fail_waiting(self) -> None:
        with self._changed:
            self._dead = True
            jobs = self._line.drain()
        for job in jobs:
            job.fail(ServerStopping("The server stopped before this request was scored."))


def score_batch(batch: Sequence[Slot]) -> None:
    """Score a batch and answer each of its pairs exactly once; a failure fails the batch's own callers only."""
    try:
        logits = batch[0].job.scorer.score([slot.pair for slot in batch])
        _check(logits, len(batch))
    except RerankError as error:
        _fail(batch, error)
    except Exception as error:
        logger.exception("scoring a batch of %d pairs failed", len(batch))
        failure = ScoringFailed("The model failed while scoring.")
        failure.__cause__ = error
        _fail(batch, failure)
    except BaseException:
        # the thread is about to die, and these jobs are no longer in line for anyone else to end
        logger.exception("the scoring thread died")
        _fail(batch, ScoringFailed("The scoring thread died; restart the server."))
        raise
    else:
        for slot, logit in zip(batch, logits, strict=True):
            slot.job.resolve(slot.place, logit)


def _check(logits: Sequence[float], pairs: int) -> None:
    if len(logits) != pairs:
        raise ScoringFailed(f"The model gave {len(logits)} scores for {pairs} pairs.")
    if not all(math.isfinite(logit) for logit in logits):
        raise ScoringFailed("The model gave a score that is not a finite number.")


def _fail(batch: Sequence[Slot], error: RerankError) -> None:
    for job in {slot.job for slot in batch}:
        job.fail(error)
