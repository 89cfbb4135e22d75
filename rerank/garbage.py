"""Python's search for garbage: paused while imports make millions of objects that stay, and rare while serving."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SERVING = 10_000
"""Objects, more than were freed, after which a server searches. Its requests leave no garbage that has to be searched
for. With Python's 700 those of 1,000 documents, whose objects live at the same time, took a quarter longer."""
_lock = threading.Lock()
_pauses = 0
_spared = 0
_modules = 0
"""As many were imported when objects were last spared."""


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


def search_rarely() -> None:
    """For a server, once it has started."""
    gc.set_threshold(_SERVING)


def spare_what_is_there() -> None:
    """Leave all objects out of the search that there are now."""
    global _spared, _modules
    with _lock:
        _modules = len(sys.modules)
        gc.freeze()
        _spared += 1


def spare_libraries() -> None:
    """The same where something was imported since.

    Libraries stay for good, and looking through torch's stops every request for a fifth of a second.
    """
    if len(sys.modules) > _modules:
        spare_what_is_there()


def times_spared() -> int:
    """How often objects were left out: a name for this moment, for ``search``."""
    return _spared


def search(made: int | None = None) -> None:
    """Free what nothing refers to, also what was made at this moment and left out since then."""
    left_out = made is not None and made < _spared
    if left_out:
        gc.unfreeze()
    gc.collect()
    if left_out:
        # what else there is by now was made earlier than that
        spare_what_is_there()
