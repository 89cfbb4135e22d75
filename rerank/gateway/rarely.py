"""Warnings that would come with every request, once an hour."""

from __future__ import annotations

import time
from collections.abc import Callable

_SILENCE = 3600.0
"""Seconds between two warnings about one subject."""


class Rarely:
    """The subjects that were warned of lately: models, or pairs of them. Belongs to the event loop's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warned: dict[str, float] = {}

    def warns(self, subject: str) -> bool:
        """True if the subject was not warned of in the last hour; now it is."""
        now, last = self._clock(), self._warned.get(subject)
        if last is not None and now - last < _SILENCE:
            return False
        self._warned[subject] = now
        return True
