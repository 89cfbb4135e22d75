"""Pauses of Python's search for garbage, while imports make millions of objects that stay."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0


@contextmanager
def paused() -> Iterator[None]:
    """No search while this or another pause lasts, on any thread."""
    pause()
    try:
        yield
    finally:
        resume()


def pause() -> None:
    """Begin a pause, which ``resume`` ends."""
    global _pauses
    with _lock:
        _pauses += 1
        gc.disable()


def resume() -> None:
    """End a pause."""
    global _pauses
    with _lock:
        _pauses -= 1
        if not _pauses:
            gc.enable()
