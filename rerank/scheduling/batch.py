"""A batch on its way over a device: however it ends, each of its pairs is answered exactly once."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rerank.core import Running
from rerank.errors import RerankError, ScoringFailed
from rerank.scheduling.job import Slot

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Batch:
    """Pairs that are on a device."""

    slots: Sequence[Slot]
    running: Running

    def finish(self) -> None:
        """Wait for the device, and answer."""
        with _failing(self.slots):
            logits = self.running.result()
            _check(logits, len(self.slots))
            for slot, logit in zip(self.slots, logits, strict=True):
                slot.job.resolve(slot.place, logit)


def start(slots: Sequence[Slot], device: int) -> Batch | None:
    """Put pairs of one model on a device; None if they are answered already."""
    with _failing(slots):
        batch = Batch(slots, slots[0].job.replicas[device].start([slot.pair for slot in slots]))
        if not batch.running.done:
            return batch
        batch.finish()
    return None


def fail(slots: Sequence[Slot], error: RerankError) -> None:
    """End every job that has a pair among them."""
    for job in {slot.job for slot in slots}:
        job.fail(error)


@contextmanager
def _failing(slots: Sequence[Slot]) -> Iterator[None]:
    """A failure in here fails the batch's own callers only."""
    try:
        yield
    except RerankError as error:
        fail(slots, error)
    except Exception as error:
        logger.exception("scoring a batch of %d pairs failed", len(slots))
        failure = ScoringFailed("The model failed while scoring.")
        failure.__cause__ = error
        fail(slots, failure)
    except BaseException:
        # the thread is about to die, and these jobs are no longer in line for anyone else to end
        fail(slots, ScoringFailed("The scoring thread died; restart the server."))
        raise


def _check(logits: Sequence[float], pairs: int) -> None:
    if len(logits) != pairs:
        raise ScoringFailed(f"The model gave {len(logits)} scores for {pairs} pairs.")
    if not all(math.isfinite(logit) for logit in logits):
        raise ScoringFailed("The model gave a score that is not a finite number.")
