"""One line, and a thread for each device: it takes a batch the moment its device can have one."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from rerank.errors import OutOfOrder, ScoringFailed, ServerStopping
from rerank.scheduling.batch import THREAD_DIED, Batch, BatchSize, Scoring, batch_size, fail
from rerank.scheduling.health import Health
from rerank.scheduling.job import HasTokens, Job, Replicas, Slot
from rerank.scheduling.line import Line
from rerank.scheduling.memory import LearntLimits, Memory
from rerank.scheduling.packing import BatchBudget

logger = logging.getLogger(__name__)

_SHARE_OF_FREE_MEMORY = 0.5
"""The rest is for what the estimate leaves out, and for whoever else uses the device."""
_RESTART = "only a restart helps"


@dataclass(frozen=True, slots=True)
class Lane:
    """A device as scheduling sees it."""

    name: str
    budget: BatchBudget
    memory: Memory = field(default_factory=Memory)
    observe: Callable[[BatchSize], None] = lambda _: None
    """Told of each batch before it is computed, on the device's thread."""
    is_lost: Callable[[], bool] = lambda: False
    """Asked after something failed on the device: True if nothing will succeed there any more."""


class Scheduler:
    """Scores the pairs of all waiting requests, batch after batch, on every device there is."""

    def __init__(self, *lanes: Lane, patience: float = math.inf, clock: Callable[[], float] = time.monotonic) -> None:
        """``patience``: seconds that a device may be at one batch; see ``look``."""
        self._line = Line()
        self._changed = threading.Condition()
        self._lanes = lanes
        self._clock = clock
        self._health = Health([lane.name for lane in lanes], patience)
        self._stopping = False
        self._workers = [_DeviceWorker(self, number, lane) for number, lane in enumerate(lanes)]
        for worker in self._workers:
            worker.thread.start()

    @property
    def trouble(self) -> str | None:
        """Why nothing is scored any more; None while some device works."""
        with self._changed:
            return self._health.trouble

    def working(self) -> dict[str, bool]:
        """For each device whether it works."""
        with self._changed:
            return self._health.working()

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
            if trouble := self._health.trouble:
                raise OutOfOrder(trouble)
            self._line.add(job)
            self._changed.notify_all()
        return job

    def stop(self, timeout: float | None = None) -> None:
        """Finish the running batches, fail what waits, end the threads."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        # now: a thread that hangs would never come to tell them
        self._fail_waiting()
        deadline = None if timeout is None else time.monotonic() + timeout
        for worker in self._workers:
            worker.thread.join(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def take(self, device: int, lane: Lane, limits: LearntLimits, *, busy: bool) -> list[Slot]:
        """The next batch for a device, as soon as there is one. Empty when the threads are to end.

        A device that is ``busy`` does not wait, and leaves the batch to an idle one; then empty means: not now.
        """
        if not busy:
            with self._changed:
                self._health.rest(device)
        while self._wait_for_work(device, busy=busy):
            # outside the lock: a driver may take its time to answer
            memory = int(_SHARE_OF_FREE_MEMORY * lane.memory.free()) if lane.memory.free else None
            with self._changed:
                batch = self._line.next_batch(lane.budget, device, memory, limits.of)
                if batch:
                    self._health.begin(device, self._clock())
                    _note_begin(batch)
            if batch or busy:
                return batch
        return []

    def _wait_for_work(self, device: int, *, busy: bool) -> bool:
        with self._changed:
            while not self._ends(device) and not self._line.has_work and not busy:
                # a model kept in line by jobs that ended could not be unloaded
                self._line.drop_ended()
                self._changed.wait()
            left_to_others = busy and not self._health.all_busy
            return not self._ends(device) and self._line.has_work and not left_to_others

    def _ends(self, device: int) -> bool:
        return self._stopping or self._health.is_lost(device)

    def look(self) -> None:
        """See whether a device has been at one batch for too long; with all of them stuck, fail what waits.

        To be called every second or so. A batch that comes back after all sets things right.
        """
        with self._changed:
            news = self._health.look(self._clock())
        for name, stuck in news.items():
            if stuck:
                logger.error("%s does not come back from a batch; it may never", name)
            else:
                logger.warning("%s came back from its batch and works again", name)
        self._fail_waiting()

    def check(self, device: int) -> None:
        """Ask a device whether it still works, after something failed on it. If not, it takes no more batches."""
        with self._changed:
            known = self._health.is_lost(device)
        if not known and self._lanes[device].is_lost():
            name = self._lanes[device].name
            logger.error("%s answers nothing but errors: %s", name, _RESTART)
            self.leave(device, f"{name} answers nothing but errors since something failed on it; {_RESTART}")

    def check_all(self) -> None:
        """Ask every device whether it still works."""
        for device in range(len(self._lanes)):
            self.check(device)

    def leave(self, device: int, why: str) -> None:
        """A device takes no more batches; the last one fails what waits."""
        with self._changed:
            self._health.lose(device, "the server is shutting down" if self._stopping else why)
            self._changed.notify_all()
        self._fail_waiting()

    def _fail_waiting(self) -> None:
        with self._changed:
            trouble = self._health.trouble
            stopped = ServerStopping("The server stopped before this request was scored.") if self._stopping else None
            jobs = self._line.drain() if stopped or trouble else []
        for job in jobs:
            job.fail(stopped or OutOfOrder(trouble or ""))


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
        self._scoring = Scoring(number, lane.memory, LearntLimits(), partial(scheduler.check, number))
        self._running: Batch | None = None
        # a daemon, so that a hanging kernel cannot keep the process from exiting
        self.thread = threading.Thread(target=self._run, name=f"device-{lane.name}", daemon=True)

    def _run(self) -> None:
        try:
            while self._step():
                pass
        except BaseException:
            logger.exception("the scoring thread of %s died", self._lane.name)
        finally:
            if self._running:
                fail(self._running.slots, ScoringFailed(THREAD_DIED))
            self._scheduler.leave(self._number, f"the scoring thread of {self._lane.name} died; {_RESTART}")

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
