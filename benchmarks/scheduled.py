"""Any scorer behind the scheduler, or behind tokeniser threads too, without the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks.workload import Score
from rerank import cgroups
from rerank.backends.local import LocalBackend
from rerank.backends.tokenisers import Tokenisers
from rerank.core import DEFAULT_OPTIONS, Pair
from rerank.devices import free_memory, is_out_of_memory, release_memory
from rerank.scheduling.batching import CPU_BATCH, QUICK_SECONDS, BatchBudget
from rerank.scheduling.memory import Lately, Memory
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Scorer


@contextmanager
def scheduled(scorer: Scorer, budget: BatchBudget = CPU_BATCH) -> Iterator[Score]:
    """The logits of one request after another, on a CPU."""
    with scheduler_of(budget, "cpu") as scheduler:
        yield lambda pairs: scheduler.submit((scorer,), scorer.encode(pairs)).future.result()


@contextmanager
def local_backend(scorer: Scorer, budget: BatchBudget, device: str) -> Iterator[Score]:
    """The same as the server has them scored: texts are read on other threads, those of a large request in parts."""
    with (
        scheduler_of(budget, device) as scheduler,
        asyncio.Runner() as runner,
        Tokenisers(cgroups.cores()) as tokenisers,
    ):
        backend = LocalBackend([scorer], scheduler, tokenisers)

        def score(pairs: Sequence[Pair]) -> list[float]:
            return [result.logit for result in runner.run(backend.score(pairs, DEFAULT_OPTIONS))]

        yield score


@contextmanager
def scheduler_of(budget: BatchBudget, device: str) -> Iterator[Scheduler]:
    """A scheduler of one device, with batches as the server takes them."""
    free = partial(free_memory, device)
    memory = Memory(Lately(free) if device == "cpu" else free, is_out_of_memory, release_memory)
    quick = QUICK_SECONDS if budget is CPU_BATCH else 0
    scheduler = Scheduler(DeviceSpec("benchmark", budget, memory, quick_seconds=quick))
    try:
        yield scheduler
    finally:
        scheduler.stop()
