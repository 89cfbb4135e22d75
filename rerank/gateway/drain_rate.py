"""How fast work leaves the house. Pure: whoever asks tells the time."""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 30.0
_ENOUGH = 3
"""Requests that must have ended within the window for the rate to mean something."""


class DrainRate:
    """Tokens scored a second, over the last half minute."""

    def __init__(self) -> None:
        self._ended: deque[tuple[float, float, int]] = deque()
        """When each request began and ended, and its tokens; in order of ending."""

    def note(self, began: float, ended: float, tokens: int) -> None:
        """A request has been answered."""
        self._ended.append((began, ended, tokens))
        self._forget(ended)

    def per_second(self, now: float) -> float | None:
        """The rate while there was work to do; None where too little ended lately to tell."""
        self._forget(now)
        if len(self._ended) < _ENOUGH:
            return None
        busy = 0.0
        until = 0.0
        # the time that at least one of them was in work
        for began, ended, _ in sorted(self._ended):
            busy += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return sum(tokens for *_, tokens in self._ended) / busy if busy else None

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0][1] < now - _WINDOW_SECONDS:
            self._ended.popleft()
