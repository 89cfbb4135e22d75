"""A batch on a device. However it ends, each of its pairs is resolved exactly once."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rerank.core import Pending, Vector
from rerank.errors import PairTooLarge, RerankError, ScoringFailed
from rerank.scheduling.job import ScoresBatches, Slot
from rerank.scheduling.memory import LearntLimits, Memory

logger = logging.getLogger(__name__)

THREAD_DIED = "The scoring thread died during this request."


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scoring on one device: start, retry in halves, fail."""

    device: int
    """Index of the device's replica of a model."""
    memory: Memory
    limits: LearntLimits
    check: Callable[[], None] = lambda: None
    """Called after a batch failed for an unknown reason: the device itself may be lost."""

    def start(self, slots: Sequence[Slot]) -> Batch | None:
        """Put pairs of one model on the device; None if they are resolved already."""
        with self.failing(slots):
            scorer = slots[0].job.replicas[self.device]
            try:
                batch = Batch(self, slots, scorer.start([slot.pair for slot in slots]))
                if not batch.running.done:
                    return batch
                _resolve(slots, batch.running)
            except Exception as error:
                self.retry(slots, error)
        return None

    def retry(self, slots: Sequence[Slot], error: Exception) -> None:
        """If memory ran out, free some and score in halves; otherwise raise the error again.

        A single pair is retried once; then only its own request fails.
        """
        if not self.memory.is_exhausted(error):
            raise error
        scorer = slots[0].job.replicas[self.device]
        limit = self.limits.learn(scorer, batch_size(scorer, slots).computed)
        logger.warning("a batch of %d pairs ran out of memory; maximum from now on: %d tokens", len(slots), limit)
        # the traceback holds the tensors that were too many
        error.__traceback__ = None
        self.memory.make_room()
        half = len(slots) // 2
        for part in (slots[:half], slots[half:]) if half else ():
            self._score(part)
        if not half:
            self._score_alone(slots[0])

    @contextmanager
    def failing(self, slots: Sequence[Slot]) -> Iterator[None]:
        """Have a failure fail only the batch's own jobs."""
        try:
            yield
        except RerankError as error:
            fail(slots, error)
        except Exception as error:
            logger.exception("scoring a batch of %d pairs failed", len(slots))
            failure = ScoringFailed("The model failed while scoring.")
            failure.__cause__ = error
            fail(slots, failure)
            self.check()
        except BaseException:
            # the thread is about to die, and these jobs are in no queue any more
            fail(slots, ScoringFailed(THREAD_DIED))
            raise

    def _score(self, slots: Sequence[Slot]) -> None:
        """Score and wait, in halves again if necessary."""
        with self.failing(slots):
            try:
                _resolve(slots, slots[0].job.replicas[self.device].start([slot.pair for slot in slots]))
            except Exception as error:
                self.retry(slots, error)

    def _score_alone(self, slot: Slot) -> None:
        try:
            _resolve([slot], slot.job.replicas[self.device].start([slot.pair]))
        except Exception as error:
            if not self.memory.is_exhausted(error):
                raise
            slot.job.fail(PairTooLarge(slot.place, slot.pair.tokens))


@dataclass(frozen=True, slots=True)
class BatchSize:
    """Size of a batch."""

    pairs: int
    tokens: int
    """Of its pairs."""
    computed: int
    """Maximum tokens as the device computes them, padding included."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs on a device."""

    scoring: Scoring
    slots: Sequence[Slot]
    running: Pending[Any]

    def finish(self) -> None:
        """Wait for the device, and resolve the pairs."""
        with self.scoring.failing(self.slots):
            try:
                _resolve(self.slots, self.running)
            except Exception as error:
                self.scoring.retry(self.slots, error)


def fail(slots: Sequence[Slot], error: RerankError) -> None:
    """Fail every job with a pair among the slots."""
    for job in {slot.job for slot in slots}:
        job.fail(error)


def _resolve(slots: Sequence[Slot], running: Pending[Any]) -> None:
    results = running.result()
    _check(results, len(slots))
    for slot, result in zip(slots, results, strict=True):
        slot.job.resolve(slot.place, result)


def batch_size(scorer: ScoresBatches, slots: Sequence[Slot]) -> BatchSize:
    """Size of a batch for a model."""
    lengths = [slot.pair.computed for slot in slots]
    return BatchSize(len(lengths), sum(lengths), max(lengths) * len(lengths) if scorer.padded else sum(lengths))


def _check(results: Sequence[Any], items: int) -> None:
    if len(results) != items:
        raise ScoringFailed(f"The model gave {len(results)} results for {items} inputs.")
    if not all(map(_is_finite, results)):
        raise ScoringFailed("The model gave a result that is not a finite number.")


def _is_finite(result: float | Vector) -> bool:
    return math.isfinite(result) if isinstance(result, float) else all(map(math.isfinite, result))
