"""Batch formation from waiting pairs. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rerank.scheduling.job import Job, Slot

_QUICK_PAIRS = 64


@dataclass(frozen=True, slots=True)
class BatchBudget:
    """Maximum size of a batch. A single pair always fits, however long."""

    pairs: int
    tokens: int
    """Tokens as the device computes them, padding included."""
    quick_tokens: int = 0
    """Tokens that the model computes in a short time, so that more than ``pairs`` may share them."""

    def within(self, memory: int, bytes_per_token: int) -> BatchBudget:
        """The same with at most the tokens that fit into ``memory`` bytes."""
        return self.at_most(memory // bytes_per_token) if bytes_per_token else self

    def at_most(self, tokens: int | None) -> BatchBudget:
        """The same with at most ``tokens``; None is no limit."""
        return self if tokens is None else replace(self, tokens=min(self.tokens, tokens))

    def pairs_of(self, tokens: int) -> int:
        """Maximum pairs of ``tokens`` each; at least one."""
        quick = min(_QUICK_PAIRS, min(self.quick_tokens, self.tokens) // tokens)
        return max(1, quick, min(self.pairs, self.tokens // tokens))


CPU_BATCH = BatchBudget(pairs=8, tokens=2048)
GPU_BATCH = BatchBudget(pairs=1024, tokens=32768)
"""Default batches. A larger one makes the next request wait longer."""
QUICK_SECONDS = 0.05
"""By default a batch on a CPU that lasts no longer may have more pairs: its fixed cost is shared."""


def pack(jobs: Sequence[Job], budget: BatchBudget, *, padded: bool) -> list[Slot]:
    """Fill a batch with pairs of waiting jobs: the first job's first pair, its others, then the next job's.

    A job that fills a batch alone stays out of the first one's: it gains nothing there, and delays the first.
    """
    return _alike(jobs, budget) if padded else _any_length(jobs, budget)


def _alike(jobs: Sequence[Job], budget: BatchBudget) -> list[Slot]:
    """With padding, every pair costs as much as the longest: only pairs of at least two thirds of its length join.

    A job that is scored in request order begins its own batch with pairs of any length.
    """
    longest = _longest_begun(jobs[0], budget)
    maximum = budget.pairs_of(longest)
    batch: list[Slot] = []
    for job in jobs:
        if batch and job.waiting >= maximum:
            continue
        shortest = (2 * longest + 2) // 3 if batch or not job.ordered else 0
        start = job.first_within(longest)
        batch += job.take(start, min(job.alike(start, shortest, longest), maximum - len(batch)))
        if len(batch) == maximum:
            break
    return batch


def _longest_begun(job: Job, budget: BatchBudget) -> int:
    """Length of the longest pair in the batch that a job begins."""
    longest = 1
    for count, tokens in enumerate(job.lengths, 1):
        if count > budget.pairs_of(max(longest, tokens)):
            break
        longest = max(longest, tokens)
    return longest


def _any_length(jobs: Sequence[Job], budget: BatchBudget) -> list[Slot]:
    """Without padding, every pair costs its own tokens: any lengths fit together."""
    tokens = max(next(jobs[0].lengths), budget.tokens)
    batch: list[Slot] = []
    for job in jobs:
        if batch and (job.waiting >= budget.pairs or job.waiting_tokens >= budget.tokens):
            continue
        start = job.first_within(tokens)
        taken = job.take(start, job.fitting(start, budget.pairs - len(batch), tokens))
        batch += taken
        tokens -= sum(slot.pair.computed for slot in taken)
        if len(batch) == budget.pairs:
            break
    return batch
