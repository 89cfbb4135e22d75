"""Calls of something that may be slow or gone."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rerank.shared_state.pause import Pause
from rerank.telemetry.events import Event, Observe

T = TypeVar("T")
logger = logging.getLogger(__name__)

_SILENCE = 60.0
"""Seconds between two warnings: what fails and works in turns would fill the log."""


class Calls:
    """Calls of one kind: whether they work, which the log says when it changes, once per minute at most."""

    def __init__(
        self, trouble: str, failure: Event, observe: Observe, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``trouble``: the state of failing, for the log. ``failure``: reported for each call that fails."""
        self._trouble = trouble
        self._failure = failure
        self._observe = observe
        self._pause = Pause(clock)
        self._clock = clock
        self._warned = -math.inf
        self._said = False

    @property
    def paused(self) -> bool:
        """True if no call should be made now."""
        return self._pause.lasts

    @property
    def failing(self) -> bool:
        """True from a failure until the next success."""
        return self._pause.follows_failure

    async def within(self, seconds: float, call: Awaitable[T]) -> T | None:
        """The call's result; None if it fails or takes longer."""
        try:
            async with asyncio.timeout(seconds):
                result = await call
        except Exception as error:
            # whatever a library raises: a request does not fail with what it can do without
            self.failed(str(error) or f"no answer within {1000 * seconds:g} ms")
            return None
        self._pause.worked()
        if self._said:
            logger.info("no longer: %s", self._trouble)
            self._said = False
        return result

    def failed(self, reason: str) -> None:
        """Note a failure."""
        self._observe(self._failure)
        self._pause.failed()
        if not self._said and self._clock() - self._warned >= _SILENCE:
            logger.warning("%s: %s", self._trouble, reason)
            self._said, self._warned = True, self._clock()
