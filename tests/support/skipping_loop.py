"""An event loop whose time passes at once while nothing is to be done."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class _Skipping(selectors.SelectSelector):
    """Instead of waiting it puts the clock forward."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if not ready:
            self.now += timeout or 0.0
        return ready


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        return self._skipping.now


def seconds_of(work: Callable[[], Awaitable[T]]) -> tuple[T, float]:
    """The result, and how many seconds it waited for timers."""

    async def measured() -> tuple[T, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        return await work(), loop.time() - began

    with asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(measured())
