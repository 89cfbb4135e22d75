"""The queue of waiting jobs, and their order. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from rerank.scheduling.batching import BatchBudget, pack
from rerank.scheduling.job import HasTokens, Job, Replicas, ScoresBatches, Slot
from rerank.scheduling.sharing import EqualSharing


class JobQueue:
    """One queue of jobs per model. Models take turns batch by batch; within a queue, callers do."""

    def __init__(self) -> None:
        self._queues: defaultdict[Replicas, _Queue] = defaultdict(_Queue)
        self._served: Counter[str] = Counter()
        """Tokens scored per caller since the queue was last empty."""

    def add(self, job: Job, begins_at: float = 0.0) -> None:
        """Add a job to its model's queue; ``begins_at`` keeps the place of one that has been served.

        A caller without waiting jobs starts at the count of the least served waiting caller: idle time earns no credit.
        """
        callers = {other.caller for other in self._jobs() if other.waiting}
        if not callers:
            self._served.clear()
        elif job.caller not in callers:
            self._served[job.caller] = max(self._served[job.caller], min(self._served[other] for other in callers))
        self._queues[job.replicas].add(job, begins_at)

    def extend(self, job: Job, pairs: Sequence[HasTokens]) -> None:
        """Add pairs to a job with ``until``, whether some of its pairs still wait or all were taken."""
        # shares begin at 0 again once nothing waits for the model
        begins_at = job.begins_at if job.replicas in self._queues else 0.0
        self._queues[job.replicas].withdraw(job)
        job.extend(pairs)
        self.add(job, begins_at)

    def expire(self, now: float) -> None:
        """Give up the waiting pairs of jobs whose time has passed."""
        for job in self._jobs():
            if job.until is not None and job.until <= now:
                job.expire()

    @property
    def has_work(self) -> bool:
        """True if a pair waits."""
        return any(job.waiting for job in self._jobs())

    def waiting_pairs(self) -> int:
        """Pairs not yet in a batch."""
        return sum(job.waiting for job in self._jobs())

    def untouched(self) -> Iterator[Job]:
        """Jobs without a pair in a batch yet."""
        return (job for job in self._jobs() if job.waiting and job.begun is None)

    def next_batch(
        self,
        budget: BatchBudget,
        device: int = 0,
        memory: int | None = None,
        learnt: Callable[[ScoresBatches], int | None] = lambda _: None,
        quick: Callable[[ScoresBatches], int] = lambda _: 0,
        in_time: Callable[[Job], int | None] = lambda _: None,
    ) -> list[Slot]:
        """Take the next batch for a device: pairs of one model. Empty if nothing waits.

        ``memory`` is the maximum bytes of a batch, None for no limit; ``learnt`` gives a model's maximum tokens per
        batch since a larger one ran out of memory, ``quick`` the tokens that it computes in a short time, ``in_time``
        those that it computes until a job's moment. Ended jobs (the client disconnected, or a batch failed) are dropped
        with all their pairs.
        """
        self.drop_ended()
        if not self._queues:
            return []
        replicas = next(iter(self._queues))
        # to the back: the other models come first now
        queue = self._queues[replicas] = self._queues.pop(replicas)
        scorer = replicas[device]
        budget = replace(budget, quick_tokens=quick(scorer))
        limit = budget if memory is None else budget.within(memory, scorer.bytes_per_token)
        jobs, limit = _with_time(queue.by_turn(self._served), limit.at_most(learnt(scorer)), in_time)
        batch = pack(jobs, limit, padded=scorer.padded)
        queue.note(batch)
        for slot in batch:
            self._served[slot.job.caller] += slot.pair.computed
        if not queue.jobs:
            del self._queues[replicas]
        return batch

    def drop_ended(self) -> None:
        """Remove ended jobs, and with them their models."""
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


def _with_time(
    jobs: Sequence[Job], limit: BatchBudget, in_time: Callable[[Job], int | None]
) -> tuple[list[Job], BatchBudget]:
    """The jobs for the first one's batch, and its limit: as long as its time allows, and none that has less time."""
    limit = limit.at_most(in_time(jobs[0]))
    others = [job for job in jobs[1:] if (allowed := in_time(job)) is None or allowed >= limit.tokens]
    return [jobs[0], *others], limit


class _Queue:
    """Waiting jobs of one model."""

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self._sharing: defaultdict[str, EqualSharing] = defaultdict(EqualSharing)
        """Per caller."""

    def add(self, job: Job, begins_at: float) -> None:
        """Add a job."""
        job.turn = self._sharing[job.caller].enter(job.waiting_tokens, begins_at)
        self.jobs.append(job)

    def withdraw(self, job: Job) -> None:
        """Remove a job, if it is here."""
        if job in self.jobs:
            self.jobs.remove(job)
            self._sharing[job.caller].leave(job.turn)

    def by_turn(self, served: Counter[str]) -> list[Job]:
        """Jobs in the order in which a batch is filled.

        The caller with the fewest ``served`` tokens comes first, so more requests do not mean a larger share. Within a
        caller, jobs are ordered by when equal sharing would end them: a short job does not wait for a long one, a long
        one not for every later short one, and equal ones keep their order. One with a moment gets its equal share until
        then.
        """
        return sorted(self.jobs, key=lambda job: (served[job.caller], job.order))

    def note(self, batch: Sequence[Slot]) -> None:
        """Count a batch's pairs, and remove the jobs it finished taking."""
        for slot in batch:
            self._sharing[slot.job.caller].serve(slot.pair.computed)
        self.jobs = [job for job in self.jobs if not job.taken]

    def drop_ended(self) -> None:
        """Remove jobs that ended before all their pairs were taken."""
        staying = []
        for job in self.jobs:
            # read once: a client may disconnect at any moment
            if job.waiting:
                staying.append(job)
            else:
                self._sharing[job.caller].leave(job.turn)
        self.jobs = staying
