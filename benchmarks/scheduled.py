"""Any scorer behind the scheduler, without the server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks.workload import Score
from rerank.core import Pair
from rerank.devices import free_memory, is_out_of_memory, release_memory
from rerank.scheduling.batching import CPU_BATCH, QUICK_SECONDS, BatchBudget
from rerank.scheduling.memory import Lately, Memory
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Scorer


@contextmanager
def scheduled(scorer: Scorer, budget: BatchBudget = CPU_BATCH, device: str = "cpu") -> Iterator[Score]:
    """The logits of one request after another."""
    free = partial(free_memory, device)
    memory = Memory(Lately(free) if device == "cpu" else free, is_out_of_memory, release_memory)
    quick = QUICK_SECONDS if budget is CPU_BATCH else 0
    scheduler = Scheduler(DeviceSpec("benchmark", budget, memory, quick_seconds=quick))

    def score(pairs: Sequence[Pair]) -> list[float]:
        return scheduler.submit((scorer,), scorer.encode(pairs)).future.result()

    try:
        yield score
    finally:
        scheduler.stop()
