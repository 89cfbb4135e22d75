"""Time that passes when a test says so."""

from __future__ import annotations


class Clock:
    """Seconds, as a test says."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
