"""The line of waiting jobs, and whose turn it is. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from rerank.scheduling.job import Job, Replicas, ScoresBatches, Slot
from rerank.scheduling.packing import BatchBudget, pack

_PATIENCE = 5
"""After so many batches in a row without any of its pairs, a job comes before those that got less than it."""


class Line:
    """A queue of jobs for each model; models take turns, batch by batch, and in a queue callers do."""

    def __init__(self) -> None:
        self._queues: dict[Replicas, list[Job]] = {}
        self._served: dict[str, int] = {}
        """Tokens that batches took of each caller, since when the line was last empty."""

    def add(self, job: Job) -> None:
        """Put a job in its model's queue.

        A caller that had nothing in line starts from what the least served of the others got: time in which it asked
        for nothing is no credit.
        """
        if not self.has_work:
            self._served.clear()
        elif not any(other.caller == job.caller and other.waiting for other in self._jobs()):
            # jobs may end meanwhile, so perhaps none is left
            least = min((self._served.get(other.caller, 0) for other in self._jobs() if other.waiting), default=0)
            self._served[job.caller] = max(self._served.get(job.caller, 0), least)
        self._queues.setdefault(job.replicas, []).append(job)

    @property
    def has_work(self) -> bool:
        """True if some pair waits."""
        return any(job.waiting for job in self._jobs())

    def waiting_pairs(self) -> int:
        """Pairs that no batch has taken."""
        return sum(job.waiting for job in self._jobs())

    def untouched(self) -> Iterator[Job]:
        """Jobs of which no batch has taken a pair."""
        return (job for job in self._jobs() if job.waiting and job.begun is None)

    def next_batch(
        self,
        budget: BatchBudget,
        device: int = 0,
        memory: int | None = None,
        learnt: Callable[[ScoresBatches], int | None] = lambda _: None,
    ) -> list[Slot]:
        """Take the next batch for a device: pairs of one model. Empty if nothing waits.

        ``memory`` is how many bytes a batch may take there, None if that is of no account; ``learnt`` tells how many
        tokens a model's batches may have since a larger one ran out of memory. Jobs that have ended (their
        caller left, or a batch failed) are dropped here with all their pairs.
        """
        for replicas in list(self._queues):
            jobs = by_turn((job for job in self._queues[replicas] if job.waiting), self._served)
            if not jobs:
                del self._queues[replicas]
                continue
            scorer = replicas[device]
            limit = budget if memory is None else budget.within(memory, scorer.bytes_per_token)
            batch = pack(jobs, limit.at_most(learnt(scorer)), padded=scorer.padded)
            served = {slot.job for slot in batch}
            for job in jobs:
                job.passed_over = 0 if job in served else job.passed_over + 1
            for slot in batch:
                self._served[slot.job.caller] = self._served.get(slot.job.caller, 0) + slot.pair.tokens
            # at the end of the dictionary: the other models come first now
            del self._queues[replicas]
            if rest := [job for job in jobs if job not in served or job.waiting]:
                self._queues[replicas] = rest
            return batch
        return []

    def drop_ended(self) -> None:
        """Let go of jobs that wait for nothing any more, and with them of their models."""
        for replicas, jobs in list(self._queues.items()):
            self._queues[replicas] = [job for job in jobs if job.waiting]
            if not self._queues[replicas]:
                del self._queues[replicas]

    def drain(self) -> list[Job]:
        """Remove and return every job."""
        jobs = list(self._jobs())
        self._queues.clear()
        return jobs

    def _jobs(self) -> Iterator[Job]:
        return (job for queue in self._queues.values() for job in queue)


def by_turn(jobs: Iterator[Job], served: Mapping[str, int]) -> list[Job]:
    """Jobs in the order in which a batch is filled.

    Those of the caller that was ``served`` the fewest tokens come first, so nobody gets more by asking more often. Of
    a caller's jobs the one that got the fewest tokens so far comes first, so a short request never waits for a long one
    to end. Before it come those passed over too often, longest ago first, so a long one never waits for all the short
    ones.
    """
    return sorted(jobs, key=lambda job: (served.get(job.caller, 0), _turn_within_caller(job)))


def _turn_within_caller(job: Job) -> tuple[int, int]:
    return (-job.passed_over if job.passed_over >= _PATIENCE else 0, job.tokens_taken)
