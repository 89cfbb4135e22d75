"""Circuit breaker: an upstream that keeps failing is not called for a while. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

COOLDOWN = 30.0
"""Seconds before an upstream is probed."""
_PROBING_SECONDS = 1.0
"""Wait for the outcome of a probe."""
Permit = int
"""One permitted call, from ``admit`` to its outcome."""


class BreakerState(StrEnum):
    """State of a breaker."""

    CLOSED = "closed"
    """Calls go through."""
    OPEN = "open"
    """Calls are refused."""
    HALF_OPEN = "half-open"
    """One call is under way to find out whether the upstream works again."""


class BreakerOpen(Exception):
    """The call is refused; the next one that is not may come in ``seconds``."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Breaker:
    """Opens after ``failures`` in a row; after ``cooldown`` seconds one call probes the upstream, and closes it or not.

    Outcomes of calls from before a change of state say nothing about the present, and are ignored.
    """

    def __init__(
        self,
        failures: int = 5,
        cooldown: float | None = None,
        changed: Callable[[BreakerState], object] = lambda _: None,
    ) -> None:
        """``changed`` is called after each change of state."""
        self._limit = failures
        self._changed = changed
        self._cooldown = COOLDOWN if cooldown is None else cooldown
        self._failed = 0
        self._opened = 0.0
        self._era: Permit = 0
        """Number of changes of state so far."""
        self.state = BreakerState.CLOSED

    def admit(self, now: float) -> Permit:
        """Permit a call. Raises BreakerOpen."""
        if self.state is BreakerState.HALF_OPEN:
            raise BreakerOpen(_PROBING_SECONDS)
        if self.state is BreakerState.OPEN:
            left = self._opened + self._cooldown - now
            if left > 0:
                raise BreakerOpen(left)
            self._become(BreakerState.HALF_OPEN)
        return self._era

    def succeeded(self, permit: Permit) -> None:
        """The upstream answered the call, be it with a refusal of what was asked."""
        if permit != self._era:
            return
        self._failed = 0
        if self.state is BreakerState.HALF_OPEN:
            self._become(BreakerState.CLOSED)

    def failed(self, permit: Permit, now: float) -> None:
        """The upstream did not answer the call, or not as it should."""
        if permit != self._era:
            return
        self._failed += 1
        if self.state is BreakerState.HALF_OPEN or self._failed >= self._limit:
            self._opened = now
            self._become(BreakerState.OPEN)

    def dropped(self, permit: Permit) -> None:
        """The call was cancelled, which says nothing of the upstream: the next call may probe it at once."""
        if permit == self._era and self.state is BreakerState.HALF_OPEN:
            self._become(BreakerState.OPEN)

    def _become(self, state: BreakerState) -> None:
        self.state = state
        self._failed = 0
        self._era += 1
        self._changed(state)
