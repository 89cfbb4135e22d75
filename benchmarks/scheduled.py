"""Any scorer behind the scheduler, without the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.workload import Score
from rerank.core import Pair, Truncation
from rerank.scheduling.packing import CPU_BATCH, BatchBudget
from rerank.scheduling.scheduler import Lane, Scheduler
from rerank.scorers.base import Scorer


@contextmanager
def scheduled(scorer: Scorer, budget: BatchBudget = CPU_BATCH) -> Iterator[Score]:
    """The logits of one request after another."""
    scheduler = Scheduler(Lane("benchmark", budget))

    def score(pairs: Sequence[Pair]) -> list[float]:
        return scheduler.submit((scorer,), scorer.encode(pairs, Truncation(), None)).future.result()

    yield score
    scheduler.stop()
