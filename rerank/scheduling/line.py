"""The line of waiting jobs, and whose turn it is. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from rerank.scheduling.job import Job, Replicas, ScoresBatches, Slot
from rerank.scheduling.packing import BatchBudget, pack
from rerank.scheduling.sharing import EqualSharing


class Line:
    """A queue of jobs for each model; models take turns, batch by batch, and in a queue callers do."""

    def __init__(self) -> None:
        self._queues: defaultdict[Replicas, _Queue] = defaultdict(_Queue)
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
        self._queues[job.replicas].add(job)

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
        self.drop_ended()
        if not self._queues:
            return []
        replicas = next(iter(self._queues))
        # behind the others: they come first now
        queue = self._queues[replicas] = self._queues.pop(replicas)
        scorer = replicas[device]
        limit = budget if memory is None else budget.within(memory, scorer.bytes_per_token)
        batch = pack(queue.by_turn(self._served), limit.at_most(learnt(scorer)), padded=scorer.padded)
        queue.note(batch)
        for slot in batch:
            self._served[slot.job.caller] = self._served.get(slot.job.caller, 0) + slot.pair.computed
        if not queue.jobs:
            del self._queues[replicas]
        return batch

    def drop_ended(self) -> None:
        """Let go of jobs that wait for nothing any more, and with them of their models."""
        for replicas, queue in list(self._queues.items()):
            queue.drop_ended()
            if not queue.jobs:
                del self._queues[replicas]

    def drain(self) -> list[Job]:
        """Remove and return every job."""
        jobs = list(self._jobs())
        self._queues.clear()
        return jobs

    def _jobs(self) -> Iterator[Job]:
        return (job for queue in self._queues.values() for job in queue.jobs)


class _Queue:
    """Jobs that wait for one model."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._sharing: defaultdict[str, EqualSharing] = defaultdict(EqualSharing)
        """Of each caller's jobs."""

    def add(self, job: Job) -> None:
        """Put a job in."""
        job.turn = self._sharing[job.caller].enter(job.waiting_tokens)
        self.jobs.append(job)

    def by_turn(self, served: Mapping[str, int]) -> list[Job]:
        """Jobs in the order in which a batch is filled.

        Those of the caller that was ``served`` the fewest tokens come first, so nobody gets more by asking more often.
        Of a caller's jobs, the one comes first that equal sharing would end first: a short one never waits for a long
        one to end, a long one not for all short ones that come after it, and of equal ones the first is done first.
        """
        return sorted(self.jobs, key=lambda job: (served.get(job.caller, 0), job.turn))

    def note(self, batch: Sequence[Slot]) -> None:
        """A batch took these pairs; jobs of which nothing is left go."""
        for slot in batch:
            self._sharing[slot.job.caller].serve(slot.pair.computed)
        self.jobs = [job for job in self.jobs if not job.taken]

    def drop_ended(self) -> None:
        """Let go of jobs that ended before all their pairs were taken."""
        staying = []
        for job in self.jobs:
            # looked at once: a caller may leave at any moment
            if job.waiting:
                staying.append(job)
            else:
                self._sharing[job.caller].leave(job.turn)
        self.jobs = staying
