"""Event-loop watchdog: a thread measures the loop's delay, and logs where a blocked loop is stuck."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from rerank.telemetry.events import LoopAnswered, Observe

logger = logging.getLogger(__name__)

_INTERVAL = 1.0
"""Seconds between two measurements; each costs the loop one callback."""
_PATIENCE = 2.0
"""Seconds of delay that are worth a warning. Probes give up after about as long."""


@contextmanager
def watched_loop(observe: Observe, interval: float = _INTERVAL, patience: float = _PATIENCE) -> Iterator[None]:
    """Watch the running event loop while the context is open."""
    watch = _LoopWatch(asyncio.get_running_loop(), observe, interval, patience)
    thread = threading.Thread(target=watch.run, name="loop-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.stop()


class _LoopWatch:
    def __init__(self, loop: asyncio.AbstractEventLoop, observe: Observe, interval: float, patience: float) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._observe = observe
        self._interval = interval
        self._patience = patience
        self._stopped = threading.Event()

    def run(self) -> None:
        """Measure until stopped."""
        while not self._stopped.wait(self._interval):
            self._ask()

    def stop(self) -> None:
        """End the measurements."""
        self._stopped.set()

    def _ask(self) -> None:
        answered = threading.Event()
        asked = time.perf_counter()
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:
            # the loop has been closed
            self.stop()
            return
        late = not answered.wait(self._patience)
        if late:
            logger.warning("the event loop was blocked for %g s at:\n%s", self._patience, self._stack())
            while not answered.wait(self._interval):
                if self._stopped.is_set():
                    return
        delay = time.perf_counter() - asked
        self._observe(LoopAnswered(delay))
        if late:
            logger.warning("the event loop recovered after %.1f s", delay)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)).rstrip()
