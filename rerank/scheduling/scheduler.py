"""The scheduler: one queue of jobs, and one thread per device that takes a batch as soon as the device is free."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from rerank.errors import OutOfOrder, ScoringFailed, ServerStopping
from rerank.scheduling.batch import THREAD_DIED, Batch, Scoring, batch_size, fail
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.health import Health
from rerank.scheduling.job import HasTokens, Job, Replicas, Slot
from rerank.scheduling.job_queue import JobQueue
from rerank.scheduling.memory import LearntLimits, Memory
from rerank.telemetry.events import BatchStarted, Observe, ignore

logger = logging.getLogger(__name__)

_SHARE_OF_FREE_MEMORY = 0.5
"""The rest covers what the estimate leaves out, and other users of the device."""
_RESTART = "restart the server"


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """A device, for the scheduler: limits and callbacks."""

    name: str
    budget: BatchBudget
    memory: Memory = field(default_factory=Memory)
    observe: Observe = ignore
    """Takes an event per batch before it is computed, on the device's thread."""
    is_lost: Callable[[], bool] = lambda: False
    """Called after a failure on the device: True if every further call would fail, too."""
    quick_seconds: float = 0
    """Batches of more pairs than the budget's are taken where they last no longer than this, as measured; 0: never."""


class Scheduler:
    """Scores the pairs of all waiting requests in batches, on all devices."""

    def __init__(
        self, *devices: DeviceSpec, patience: float = math.inf, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``patience``: seconds after which a batch counts as stuck; see ``look``."""
        self._queue = JobQueue()
        self._changed = threading.Condition()
        self._devices = devices
        self._clock = clock
        self._health = Health([device.name for device in devices], patience)
        self._patience = patience
        self._stopping = False
        self._workers = [_DeviceWorker(self, number, device) for number, device in enumerate(devices)]
        for worker in self._workers:
            worker.thread.start()

    @property
    def trouble(self) -> str | None:
        """The reason why nothing can be scored; None while a device works."""
        with self._changed:
            return self._health.trouble

    def working(self) -> dict[str, bool]:
        """Whether each device works, by name."""
        with self._changed:
            return self._health.working()

    @property
    def waiting_pairs(self) -> int:
        """Pairs in the queue."""
        with self._changed:
            return self._queue.waiting_pairs()

    @property
    def longest_wait(self) -> float:
        """Seconds that the oldest waiting request has waited; 0 if none waits."""
        with self._changed:
            since = min((job.submitted for job in self._queue.untouched()), default=None)
        return 0.0 if since is None else time.perf_counter() - since

    def submit(
        self, replicas: Replicas, pairs: Sequence[HasTokens], caller: str = "", until: float | None = None
    ) -> Job:
        """Queue a request's encoded pairs. Cancelling ``job.future`` drops those that still wait.

        With ``until``, a moment of ``clock`` or infinity, ``extend`` adds pairs until ``job.complete``; see ``expire``.
        """
        job = Job(replicas, pairs, caller, until)
        job.submitted = time.perf_counter()
        with self._queueing() as queue:
            queue.add(job)
        return job

    def extend(self, job: Job, pairs: Sequence[HasTokens]) -> None:
        """Queue further pairs of a job with ``until``."""
        with self._queueing() as queue:
            queue.extend(job, pairs)

    @contextmanager
    def _queueing(self) -> Iterator[JobQueue]:
        with self._changed:
            if self._stopping:
                raise ServerStopping("The server is shutting down.")
            if trouble := self._health.trouble:
                raise OutOfOrder(trouble)
            yield self._queue
            self._changed.notify_all()

    def expire(self, job: Job) -> None:
        """Give up a job's waiting pairs: their result is None. To be called when its time has passed.

        A device never begins a pair after that time; this ends the job while every device is busy.
        """
        with self._changed:
            job.expire()
            self._queue.drop_ended()

    def stop(self, timeout: float | None = None) -> None:
        """Finish the running batches, fail what waits, end the threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        # now: a stuck thread would never do it
        self._fail_waiting()
        deadline = None if timeout is None else time.monotonic() + timeout
        for worker in self._workers:
            worker.thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def take(self, device: int, limits: LearntLimits, *, busy: bool) -> list[Slot]:
        """The next batch for a device; waits for one. Empty when the thread is to end.

        A ``busy`` device does not wait and leaves the batch to an idle one; then empty means: not now.
        """
        spec = self._devices[device]
        if not busy:
            with self._changed:
                self._health.rest(device)
        while self._wait_for_work(device, busy=busy):
            # outside the lock: a driver may take its time to answer
            memory = int(_SHARE_OF_FREE_MEMORY * spec.memory.free()) if spec.memory.free else None
            with self._changed:
                now = self._clock()
                self._queue.expire(now)
                in_time = partial(_tokens_in_time, limits, device, now)
                batch = self._queue.next_batch(spec.budget, device, memory, limits.of, limits.quick_tokens, in_time)
                if batch:
                    self._health.begin(device, self._clock())
                    _note_begin(batch)
            if batch or busy:
                return batch
        return []

    def _wait_for_work(self, device: int, *, busy: bool) -> bool:
        with self._changed:
            while not self._ends(device) and not self._queue.has_work and not busy:
                # ended jobs would keep their model in memory
                self._queue.drop_ended()
                self._changed.wait()
            left_to_others = busy and not self._health.all_busy
            return not self._ends(device) and self._queue.has_work and not left_to_others

    def _ends(self, device: int) -> bool:
        return self._stopping or self._health.is_lost(device)

    def look(self) -> None:
        """Check for stuck devices; if all are stuck, fail what waits. To be called about every second.

        A stuck batch that ends after all makes the device work again.
        """
        with self._changed:
            news = self._health.look(self._clock())
        for name, stuck in news.items():
            if stuck:
                logger.error("%s is stuck: its batch has run for more than %g s", name, self._patience)
            else:
                logger.warning("%s works again: its batch ended", name)
        self._fail_waiting()

    def check(self, device: int) -> None:
        """Check a device after a failure on it. A lost one takes no more batches."""
        with self._changed:
            known = self._health.is_lost(device)
        if not known and self._devices[device].is_lost():
            name = self._devices[device].name
            logger.error("every call to %s fails; %s", name, _RESTART)
            self.leave(device, f"every call to {name} fails since an error on it; {_RESTART}")

    def check_all(self) -> None:
        """Check every device."""
        for device in range(len(self._devices)):
            self.check(device)

    def leave(self, device: int, why: str) -> None:
        """Take a device out; without any left, fail what waits."""
        with self._changed:
            self._health.lose(device, "the server is shutting down" if self._stopping else why)
            self._changed.notify_all()
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        with self._changed:
            trouble = self._health.trouble
            stopped = ServerStopping("The server stopped before this request was scored.") if self._stopping else None
            jobs = self._queue.drain() if stopped or trouble else []
        for job in jobs:
            job.fail(stopped or OutOfOrder(trouble or ""))


def _tokens_in_time(limits: LearntLimits, device: int, now: float, job: Job) -> int | None:
    """Tokens that a device computes until a job's moment; None if it has time, or while that is not known."""
    if job.until is None or job.until == math.inf:
        return None
    return limits.tokens_in(job.replicas[device], job.until - now)


def _note_begin(batch: Sequence[Slot]) -> None:
    now = time.perf_counter()
    for slot in batch:
        if slot.job.begun is None:
            slot.job.begun = now


class _DeviceWorker:
    """The thread of one device. It starts a batch while the previous one still runs, so the device never idles."""

    def __init__(self, scheduler: Scheduler, number: int, spec: DeviceSpec) -> None:
        self._scheduler = scheduler
        self._number = number
        self._spec = spec
        self._scoring = Scoring(number, spec.memory, LearntLimits(spec.quick_seconds), partial(scheduler.check, number))
        self._running: Batch | None = None
        # a daemon, so that a hanging kernel cannot keep the process from exiting
        self.thread = threading.Thread(target=self._run, name=f"device-{spec.name}", daemon=True)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException:
            logger.exception("the scoring thread of %s died", self._spec.name)
        finally:
            if self._running:
                fail(self._running.slots, ScoringFailed(THREAD_DIED))
            self._scheduler.leave(self._number, f"the scoring thread of {self._spec.name} died; {_RESTART}")

    def _start(self, slots: Sequence[Slot]) -> Batch | None:
        begun = time.monotonic()
        started = self._scoring.start(slots)
        if started is None:
            scorer = slots[0].job.replicas[self._number]
            self._scoring.limits.note(scorer, batch_size(scorer, slots).computed, time.monotonic() - begun)
        return started

    def _report(self, slots: Sequence[Slot]) -> None:
        size = batch_size(slots[0].job.replicas[self._number], slots)
        self._spec.observe(BatchStarted(self._spec.name, size.pairs, size.tokens, size.computed - size.tokens))

    def _step(self) -> bool:
        """Start the next batch, then finish the previous one; False when there is nothing left to do.

        No local variable holds a batch while waiting for the next one: it would keep a request's texts in memory.
        """
        slots = self._scheduler.take(self._number, self._scoring.limits, busy=self._running is not None)
        if not slots and not self._running:
            return False
        if slots:
            self._report(slots)
        started = self._start(slots) if slots else None
        before, self._running = self._running, started
        if before:
            before.finish()
        return True
