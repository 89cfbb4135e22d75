"""What the endpoints work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from rerank.api.middleware import ClientLeft
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import Checkpoint
from rerank.gateway.gateway import Gateway
from rerank.registry.registry import Registry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Services:
    """The running house behind the endpoints."""

    gateway: Gateway
    device: str
    """Where models run: each device with its precision, separated by commas."""
    started: int
    """Unix time of the start."""
    is_alive: Callable[[], bool] = lambda: True
    """False once scoring is no longer possible."""
    stop: Callable[[], None] = lambda: None
    """Ends at once what waits to be loaded or scored; those who wait are told that the server stops."""

    preloaded: tuple[ModelCard, ...] = ()
    """Models that have to be in memory once before the server is ready."""
    estimate: Callable[[Checkpoint], Mapping[str, int]] = lambda _: {}
    """Bytes a model on disk would take on each device, about."""

    @property
    def catalog(self) -> Catalog:
        """The models there are."""
        return self.gateway.catalog

    @property
    def registry(self) -> Registry:
        """The models in memory."""
        return self.gateway.registry


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


Running = Annotated[Services, Depends(_services)]


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, but cancel it when the client closes the connection. Raises ClientLeft then."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:
        watch.cancel()
        task.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
