"""An ASGI application that runs outside of a server."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI


class Lifespan:
    """Starts and stops an application, in one task: what it opens must be closed where it was opened."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._stopping = asyncio.Event()
        self._started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._live(), name="lifespan")

    async def started(self) -> None:
        """Return once it runs. Raises what kept it from that."""
        await asyncio.wait([self._task, self._started], return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            await self._task

    async def stop(self) -> None:
        """Close what it has opened."""
        self._stopping.set()
        await self._task

    async def _live(self) -> None:
        async with self._app.router.lifespan_context(self._app):
            self._started.set_result(None)
            await self._stopping.wait()
