"""Rate at which requests are finished. Pure: the caller passes the current time."""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 30.0
_ENOUGH = 3
"""Minimum requests that ended within the window, for a meaningful rate."""


class DrainRate:
    """Tokens scored per second, over the last half minute."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, float, int]] = deque()
        """Start, end and tokens of each request, in order of their ends."""

    def note(self, began: float, ended: float, tokens: int) -> None:
        """Note an answered request."""
        self._ended.append((began, ended, tokens))
        self._forget(ended)

    def per_second(self, now: float) -> float | None:
        """The rate while there was work; None if too few requests ended recently."""
        self._forget(now)
        if len(self._ended) < _ENOUGH:
            return None
        busy = 0.0
        until = 0.0
        # the time that at least one of them was in flight
        for began, ended, _ in sorted(self._ended):
            busy += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return sum(tokens for *_, tokens in self._ended) / busy if busy else None

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0][1] < now - _WINDOW_SECONDS:
            self._ended.popleft()
