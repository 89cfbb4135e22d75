"""Who watches whom: the event loop the devices, a thread the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from rerank.scheduling.scheduler import Scheduler
from rerank.telemetry.loop_watch import watched_loop
from rerank.telemetry.metrics import Metrics

_INTERVAL = 1.0


@asynccontextmanager
async def watching(scheduler: Scheduler, metrics: Metrics) -> AsyncIterator[None]:
    """Notice devices that hang and an event loop that stands still, while the context is open."""
    with watched_loop(metrics.loop_delay.observe):
        task = asyncio.create_task(_look_after(scheduler), name="watch-devices")
        try:
            yield
        finally:
            task.cancel()


async def _look_after(scheduler: Scheduler) -> None:
    while True:
        await asyncio.sleep(_INTERVAL)
        scheduler.look()
