"""One line, and a thread for each device: it takes a batch the moment its device can have one."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rerank.errors import ScoringFailed, ServerStopping
from rerank.scheduling.batch import Batch, BatchSize, Scoring, batch_size, fail
from rerank.scheduling.job import HasTokens, Job, Replicas, Slot
from rerank.scheduling.line import Line
from rerank.scheduling.memory import LearntLimits, Memory
from rerank.scheduling.packing import BatchBudget

logger = logging.getLogger(__name__)

_SHARE_OF_FREE_MEMORY = 0.5
"""The rest is for what the estimate leaves out, and for whoever else uses the device."""


@dataclass(frozen=True, slots=True)
class Lane:
    """A device as scheduling sees it."""

    name: str
    budget: BatchBudget
    memory: Memory = field(default_factory=Memory)
    observe: Callable[[BatchSize], None] = lambda _: None
    """Told of each batch before it is computed, on the device's thread."""


class Scheduler:
    """Scores the pairs of all waiting requests, batch after batch, on every device there is."""

    def __init__(self, *lanes: Lane) -> None:
        self._line = Line()
        self._changed = threading.Condition()
        self._busy: set[int] = set()
        """Devices that hold a batch."""
        self._stopping = False
        self._workers = [_DeviceWorker(self, number, lane) for number, lane in enumerate(lanes)]
        self._working = len(lanes)
        for worker in self._workers:
            worker.thread.start()

    @property
    def alive(self) -> bool:
        """False once no device's thread is left, on purpose or not."""
        return self._working > 0

    @property
    def waiting_pairs(self) -> int:
        """Pairs in line that no batch has taken."""
        with self._changed:
            return self._line.waiting_pairs()

    @property
    def longest_wait(self) -> float:
        """Seconds that the request has waited which waits longest; 0 if none does."""
        with self._changed:
            since = min((job.submitted for job in self._line.untouched()), default=None)
        return 0.0 if since is None else time.perf_counter() - since

    def submit(self, replicas: Replicas, pairs: Sequence[HasTokens], caller: str = "") -> Job:
        """Put a request's encoded pairs in line. Cancel ``job.future`` to take the waiting ones out again."""
        job = Job(replicas, pairs, caller)
        job.submitted = time.perf_counter()
        with self._changed:
            if self._stopping:
                raise ServerStopping("The server is shutting down.")
            if not self._working:
                raise ScoringFailed("The scoring thread has died; restart the server.")
            self._line.add(job)
            self._changed.notify_all()
        return job

    def stop(self, timeout: float | None = None) -> None:
        """Finish the running batches, fail what waits, end the threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = None if timeout is None else time.monotonic() + timeout
        for worker in self._workers:
            worker.thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def take(self, device: int, lane: Lane, limits: LearntLimits, *, busy: bool) -> list[Slot]:
        """The next batch for a device, as soon as there is one. Empty when the threads are to end.

        A device that is ``busy`` does not wait, and leaves the batch to an idle one; then empty means: not now.
        """
        if not busy:
            with self._changed:
                self._busy.discard(device)
        while self._wait_for_work(busy=busy):
            # outside the lock: a driver may take its time to answer
            memory = int(_SHARE_OF_FREE_MEMORY * lane.memory.free()) if lane.memory.free else None
            with self._changed:
                batch = self._line.next_batch(lane.budget, device, memory, limits.of)
                if batch:
                    self._busy.add(device)
                    _note_begin(batch)
            if batch or busy:
                return batch
        return []

    def _wait_for_work(self, *, busy: bool) -> bool:
        with self._changed:
            while not self._stopping and not self._line.has_work and not busy:
                # a model kept in line by jobs that ended could not be unloaded
                self._line.drop_ended()
                self._changed.wait()
            others_idle = len(self._busy) < self._working
            return not self._stopping and self._line.has_work and not (busy and others_idle)

    def leave(self, device: int) -> None:
        """A device's thread ends; the last one fails what waits."""
        with self._changed:
            self._working -= 1
            self._busy.discard(device)
            jobs = [] if self._working else self._line.drain()
            error = (
                ServerStopping("The server stopped before this request was scored.")
                if self._stopping
                else ScoringFailed("The scoring thread has died; restart the server.")
            )
        for job in jobs:
            job.fail(error)


def _note_begin(batch: Sequence[Slot]) -> None:
    now = time.perf_counter()
    for slot in batch:
        if slot.job.begun is None:
            slot.job.begun = now


class _DeviceWorker:
    """The thread of one device. It starts a batch while the one before still runs, so the device never waits for it."""

    def __init__(self, scheduler: Scheduler, number: int, lane: Lane) -> None:
        self._scheduler = scheduler
        self._number = number
        self._lane = lane
        self._scoring = Scoring(number, lane.memory, LearntLimits())
        self._running: Batch | None = None
        # a daemon, so that a hanging kernel cannot keep the process from exiting
        self.thread = threading.Thread(target=self._run, name=f"device-{lane.name}", daemon=True)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException:
            logger.exception("the scoring thread of %s died", self._lane.name)
            raise
        finally:
            if self._running:
                fail(self._running.slots, ScoringFailed("The scoring thread died; restart the server."))
            self._scheduler.leave(self._number)

    def _step(self) -> bool:
        """Start the next batch, then end the one before it; False when there is nothing left to do.

        Nothing of a batch stays in a local variable over the wait for the next one: it would hold a request's texts.
        """
        slots = self._scheduler.take(self._number, self._lane, self._scoring.limits, busy=self._running is not None)
        if not slots and not self._running:
            return False
        if slots:
            self._lane.observe(batch_size(slots[0].job.replicas[self._number], slots))
        started = self._scoring.start(slots) if slots else None
        before, self._running = self._running, started
        if before:
            before.finish()
        return True
