"""The line of waiting pairs, and how a batch is taken from it. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol


class HasTokens(Protocol):
    """An encoded pair, of which the line needs only its length."""

    @property
    def tokens(self) -> int:
        """Tokens the model reads."""
        ...


class ScoresBatches(Protocol):
    """Whatever turns a batch of encoded pairs into raw logits."""

    def score(self, batch: Sequence[HasTokens]) -> list[float]:
        """One raw logit a pair, in order."""
        ...


@dataclass(frozen=True, slots=True)
class BatchBudget:
    """The largest batch: pairs, and tokens counted with padding."""

    pairs: int
    tokens: int

    def admits(self, pairs: int, longest: int) -> bool:
        """True if a batch of ``pairs``, padded to ``longest`` tokens, is within the budget."""
        return pairs <= self.pairs and pairs * longest <= self.tokens


class Job:
    """The pairs of one request, waiting for one scorer. Ends exactly once, through its future.

    The future ends with every pair's logit in request order, with an error, or cancelled by a caller that left.
    """

    def __init__(self, scorer: ScoresBatches, pairs: Sequence[HasTokens]) -> None:
        self.scorer = scorer
        self.future: Future[list[float]] = Future()
        self._pairs = pairs
        # longest first, so that a batch holds pairs of like length and little padding
        self._waiting = deque(sorted(range(len(pairs)), key=lambda place: -pairs[place].tokens))
        self._logits: dict[int, float] = {}
        if not pairs:
            self.future.set_result([])

    @property
    def waiting(self) -> int:
        """Pairs no batch has taken yet; none once the job has ended, however it did."""
        return 0 if self.future.done() else len(self._waiting)

    @property
    def next_tokens(self) -> int:
        """Length of the pair that is taken next."""
        return self._pairs[self._waiting[0]].tokens

    def take(self) -> Slot:
        """Hand out the next waiting pair."""
        place = self._waiting.popleft()
        return Slot(self, place, self._pairs[place])

    def resolve(self, place: int, logit: float) -> None:
        """Note a pair's logit; the last one ends the job."""
        self._logits[place] = logit
        if len(self._logits) == len(self._pairs):
            # a caller may leave between the last pair and this line
            with suppress(InvalidStateError):
                self.future.set_result([self._logits[index] for index in range(len(self._pairs))])

    def fail(self, error: Exception) -> None:
        """End the job with an error, unless it has ended."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True)
class Slot:
    """One pair in a batch, and the job it belongs to."""

    job: Job
    place: int
    pair: HasTokens


class Line:
    """A queue of jobs for each scorer; scorers take turns, and so do the jobs of one scorer."""

    def __init__(self) -> None:
        self._queues: dict[ScoresBatches, deque[Job]] = {}

    def add(self, job: Job) -> None:
        """Put a job at the end of its scorer's queue."""
        self._queues.setdefault(job.scorer, deque()).append(job)

    def waiting_pairs(self) -> int:
        """Pairs that no batch has taken."""
        return sum(job.waiting for job in self._jobs())

    def next_batch(self, budget: BatchBudget) -> list[Slot]:
        """Take the next batch: pairs of one scorer, from all its jobs in turn. Empty if nothing waits.

        Jobs that have ended (their caller left, or a batch failed) are dropped here with all their pairs.
        """
        for scorer in list(self._queues):
            queue = self._queues.pop(scorer)
            batch = pack((job for job in queue if job.waiting), budget)
            served = {slot.job for slot in batch}
            # who got nothing comes first next time, so that nobody is passed over twice
            order = sorted((job for job in queue if job.waiting), key=served.__contains__)
            if order:
                self._queues[scorer] = deque(order)
            if batch:
                return batch
        return []

    def drain(self) -> list[Job]:
        """Remove and return every job."""
        jobs = list(self._jobs())
        self._queues.clear()
        return jobs

    def _jobs(self) -> Iterable[Job]:
        return (job for queue in self._queues.values() for job in queue)


def pack(jobs: Iterable[Job], budget: BatchBudget) -> list[Slot]:
    """Fill one batch, a pair from each job in turn, so that a short request does not wait for a long one to end.

    A pair that no longer fits ends its job's share of this batch; a single pair always fits.
    """
    batch: list[Slot] = []
    longest = 0
    turn = deque(jobs)
    while turn:
        job = turn.popleft()
        padded = max(longest, job.next_tokens)
        if batch and not budget.admits(len(batch) + 1, padded):
            continue
        longest = padded
        batch.append(job.take())
        if job.waiting:
            turn.append(job)
    return batch
