"""Retries of calls: which failures, how often, and how long to wait before the next attempt."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from email.utils import parsedate_to_datetime

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)

from rerank.errors import RerankError
from rerank.telemetry.events import CallOutcome

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]

ATTEMPTS = 4
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0
_MAX_RETRY_AFTER = 24 * 3600.0
_often_enough = stop_after_attempt(ATTEMPTS)
_exponential = wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)
"""Between 0 and twice as long each time, so that callers that failed together do not return together."""


class CallFailed(Exception):
    """A call that brought no scores."""

    def __init__(
        self,
        error: RerankError,
        outcome: CallOutcome = "failed",
        *,
        again: bool = False,
        after: float | None = None,
        healthy: bool = False,
    ) -> None:
        """``error`` is for the caller. ``again``: a retry may help. ``healthy``: the upstream works as it should."""
        super().__init__(error.message)
        self.error = error
        self.outcome: CallOutcome = outcome
        self.again = again
        self.after = after
        """Seconds to wait first, as the upstream wishes."""
        self.healthy = healthy


def retrying(ends: float, clock: Clock, sleep: Sleep) -> AsyncRetrying:
    """Attempts until one succeeds, a retry would not help, or the next would begin after ``ends``."""

    def ended(state: RetryCallState) -> bool:
        return _often_enough(state) or clock() + state.upcoming_sleep >= ends

    return AsyncRetrying(
        sleep=sleep,
        stop=ended,
        wait=_wait,
        retry=retry_if_exception(lambda error: isinstance(error, CallFailed) and error.again),
        reraise=True,
    )


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.after if isinstance(error, CallFailed) else None
    return _exponential(state) if asked is None else asked + min(_exponential(state), asked / 10)


def parse_retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds of a Retry-After header, which has them or a date; None if it is absent or makes no sense."""
    if value is None or len(value) > _MAX_HEADER:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - now()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), _MAX_RETRY_AFTER)


_MAX_HEADER = 64
