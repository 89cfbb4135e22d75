"""An event loop that stands still answers nobody, not even who asks how it is: a thread notices, and says where."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

_INTERVAL = 1.0
"""Seconds between two questions; each costs the loop one callback."""
_PATIENCE = 2.0
"""Seconds without an answer that are worth a warning. Probes give up after about as long."""


@contextmanager
def watched_loop(observe: Callable[[float], object]) -> Iterator[None]:
    """Watch the running event loop while the context is open. ``observe`` is told each delay, in seconds."""
    watch = _LoopWatch(asyncio.get_running_loop(), observe)
    thread = threading.Thread(target=watch.run, name="loop-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watch.stop()


class _LoopWatch:
    def __init__(self, loop: asyncio.AbstractEventLoop, observe: Callable[[float], object]) -> None:
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._observe = observe
        self._stopped = threading.Event()

    def run(self) -> None:
        """Ask the loop again and again how it is."""
        while not self._stopped.wait(_INTERVAL):
            self._ask()

    def stop(self) -> None:
        """Ask no more."""
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
        late = not answered.wait(_PATIENCE)
        if late:
            logger.warning("the event loop has stood still for %g s, at:\n%s", _PATIENCE, self._stack())
            while not answered.wait(_INTERVAL):
                if self._stopped.is_set():
                    return
        delay = time.perf_counter() - asked
        self._observe(delay)
        if late:
            logger.warning("the event loop turns again; it stood still for %.1f s", delay)

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)).rstrip()
