"""The time without calls after a failure. Pure."""

from __future__ import annotations

from collections.abc import Callable

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 30.0


class Pause:
    """Longer with each failure in a row, none after a success."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = 0.0
        self._ends = clock()

    @property
    def lasts(self) -> bool:
        """True if no call should be made now."""
        return self._clock() < self._ends

    @property
    def follows_failure(self) -> bool:
        """True from a failure until the next success."""
        return self._seconds > 0

    def failed(self) -> None:
        """Note a failure. Calls that were under way in a pause do not prolong it."""
        if not self.lasts:
            self._seconds = min(2 * self._seconds or _FIRST_SECONDS, _LONGEST_SECONDS)
            self._ends = self._clock() + self._seconds

    def worked(self) -> None:
        """Note a success."""
        self._seconds, self._ends = 0.0, self._clock()
