"""Services: everything an endpoint can reach."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from rerank.api.middleware import ClientLeft
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.downloads import Downloads
from rerank.core import Caller, Pair
from rerank.gateway.gateway import Gateway
from rerank.gateway.readiness import Readiness
from rerank.registry.registry import Registry
from rerank.tasks import running

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOGGED = 1000
"""Maximum logged characters of a text: the query is repeated in the line of each document."""


def caller_of(request: Request) -> Caller:
    """The caller of a request."""
    caller: Caller = request.state.caller
    return caller


@dataclass(frozen=True, slots=True)
class Services:
    """The running server behind the endpoints."""

    gateway: Gateway
    readiness: Readiness
    device: str
    """Devices with their precisions, separated by commas."""
    started: int
    """Unix time of the start."""
    trouble: Callable[[], str | None] = lambda: None
    """Why scoring is no longer possible; None while it is."""
    stop: Callable[[], None] = lambda: None
    """Fails all waiting pairs at once with ServerStopping."""
    reload: Callable[[], bool] = lambda: True
    """Reads models file and keys file again; False if one of them is wrong, and nothing changed."""
    downloads: Downloads = field(default_factory=Downloads)
    """Progress of downloads."""

    log_texts: bool = False
    """True logs the beginnings of the texts of requests."""

    estimate: Callable[[ModelCard, Checkpoint], Mapping[str, int]] = lambda *_: {}
    """Estimated bytes of a model on disk, on each device."""

    def log_pairs(self, pairs: Sequence[Pair]) -> None:
        """Log the beginnings of a request's pairs, if the operator wants that."""
        if self.log_texts:
            for number, pair in enumerate(pairs):
                query, document = pair.query[:_LOGGED], pair.document[:_LOGGED]
                logger.info("documents.%d: query %r, document %r", number, query, document)

    def log_inputs(self, texts: Sequence[str]) -> None:
        """The same for texts to embed."""
        if self.log_texts:
            for number, text in enumerate(texts):
                logger.info("input.%d: %r", number, text[:_LOGGED])

    async def drain(self, seconds: float) -> None:
        """Admit no further request, let in-flight ones finish for ``seconds``, then fail the rest.

        Requests that wait for a model to load fail at once: the load would not end in time.
        """
        self.gateway.admission.close()
        self.registry.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.gateway.admission.drained()
        self.stop()

    @property
    def catalog(self) -> Catalog:
        """All known models."""
        return self.gateway.catalog

    @property
    def registry(self) -> Registry:
        """The loaded models."""
        return self.gateway.registry


async def _services(request: Request) -> Services:
    # async, though it waits for nothing: FastAPI runs plain functions on a thread
    services: Services = request.app.state.services
    return services


ServicesDep = Annotated[Services, Depends(_services)]


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await ``work``, but cancel it when the client closes the connection. Raises ClientLeft then."""
    async with running([work]) as (task,), running([_disconnected(request)]) as (watch,):
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
