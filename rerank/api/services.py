"""What the endpoints work with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from rerank.api.middleware import ClientLeft
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.downloads import Downloads
from rerank.core import Caller, ScoringRequest
from rerank.gateway.gateway import Gateway
from rerank.gateway.readiness import Readiness
from rerank.registry.registry import Registry

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOGGED = 1000
"""Characters of a text that are logged: the query stands in the line of each of its documents."""


def caller_of(request: Request) -> Caller:
    """Whose key a request brought."""
    caller: Caller = request.state.caller
    return caller


@dataclass(frozen=True, slots=True)
class Services:
    """The running house behind the endpoints."""

    gateway: Gateway
    readiness: Readiness
    device: str
    """Where models run: each device with its precision, separated by commas."""
    started: int
    """Unix time of the start."""
    trouble: Callable[[], str | None] = lambda: None
    """Why scoring is no longer possible; None while it is."""
    stop: Callable[[], None] = lambda: None
    """Ends at once what waits to be scored; those who wait are told that the server stops."""
    downloads: Downloads = field(default_factory=Downloads)
    """How far the models are that are being fetched."""

    log_texts: bool = False
    """True writes queries and documents into the log."""

    estimate: Callable[[ModelCard, Checkpoint], Mapping[str, int]] = lambda *_: {}
    """Bytes a model on disk would take on each device, about."""

    def log_request(self, request: ScoringRequest) -> None:
        """Log the beginnings of a request's texts, where the operator wants to see them."""
        if self.log_texts:
            for number, pair in enumerate(request.pairs):
                query, document = pair.query[:_LOGGED], pair.document[:_LOGGED]
                logger.info("documents.%d: query %r, document %r", number, query, document)

    async def drain(self, seconds: float) -> None:
        """Let nobody in any more, give those who are in so many seconds, then end what waits.

        Who waits for a model to load is told at once: the load would not end in time.
        """
        self.gateway.admission.close()
        self.registry.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.gateway.admission.drained()
        self.stop()

    @property
    def catalog(self) -> Catalog:
        """The models there are."""
        return self.gateway.catalog

    @property
    def registry(self) -> Registry:
        """The models in memory."""
        return self.gateway.registry


async def _services(request: Request) -> Services:
    # async, though it waits for nothing: FastAPI runs plain functions on a thread
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


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
