"""Rate at which requests are finished. Pure: the caller passes the current time."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

_WINDOW_SECONDS = 30.0
_ENOUGH = 3
"""Minimum requests that ended within the window, for a meaningful rate."""
_SLOTS_PER_SECOND = 2
_MAXIMUM = 4096
"""Maximum stretches in the window; more would say no more about the rate."""


class _Stretch(NamedTuple):
    """Requests that overlap and ended within the same half second."""

    began: float
    ended: float
    requests: int
    tokens: int

    def joins(self, began: float, ended: float) -> bool:
        """True if a request that ends next belongs to it."""
        return began <= self.ended and int(ended * _SLOTS_PER_SECOND) == int(self.ended * _SLOTS_PER_SECOND)


class DrainRate:
    """Tokens scored per second, over the last half minute."""

    def __init__(self) -> None:
        self._ended: deque[_Stretch] = deque()
        """In order of their ends."""
        self._requests = 0
        self._before: float | None = None

    def note(self, began: float, ended: float, tokens: int) -> None:
        """Note an answered request."""
        self._forget(ended)
        stretch = _Stretch(began, ended, 1, tokens)
        if self._ended and (last := self._ended[-1]).joins(began, ended):
            self._ended.pop()
            stretch = _Stretch(min(began, last.began), ended, last.requests + 1, last.tokens + tokens)
        self._ended.append(stretch)
        self._requests += 1
        if len(self._ended) > _MAXIMUM:
            self._drop_first()

    def per_second(self, now: float) -> float | None:
        """The rate while there was work; None if too few requests ended recently."""
        self._forget(now)
        return self._rate()

    def latest(self, now: float) -> float | None:
        """The rate, or the last one that was known; None before the first."""
        return self.per_second(now) or self._before

    def _rate(self) -> float | None:
        if self._requests < _ENOUGH:
            return None
        busy = 0.0
        until = 0.0
        # the time that at least one of them was in flight
        for began, ended, *_ in sorted(self._ended):
            busy += max(0.0, ended - max(began, until))
            until = max(until, ended)
        return sum(stretch.tokens for stretch in self._ended) / busy if busy else None

    def _forget(self, now: float) -> None:
        while self._ended and self._ended[0].ended < now - _WINDOW_SECONDS:
            if self._requests - self._ended[0].requests < _ENOUGH:
                self._before = self._rate() or self._before
            self._drop_first()

    def _drop_first(self) -> None:
        self._requests -= self._ended.popleft().requests
