"""Waiting for what another thread or process does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PATIENCE = 60.0
"""Seconds; many times what an idle machine needs."""


def wait_until(happened: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Return once it has happened; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


async def eventually(happened: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """The same while the event loop runs."""
    async with asyncio.timeout(seconds):
        while not happened():  # noqa: ASYNC110  # what happens elsewhere sets no event
            await asyncio.sleep(0.01)
