"""What has to have been in memory before requests are answered without a wait, and how it gets there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rerank.catalog.cards import ModelCard
from rerank.errors import RerankError
from rerank.gateway.gateway import Gateway

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0
"""How long a model that could not be loaded is left alone, however often somebody asks whether it is there."""


class Readiness:
    """The models to be loaded at start, and the default one.

    What was in memory once is not waited for again: it may have made room for another, and comes back when it is asked
    for. Its methods belong to the event loop's thread.
    """

    def __init__(self, gateway: Gateway, preloaded: Sequence[ModelCard] = ()) -> None:
        self._gateway = gateway
        self._preloaded = preloaded
        self._loading: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self.failures: dict[str, str] = {}
        """Why models could not be loaded the last time, by id."""

    @asynccontextmanager
    async def preloading(self) -> AsyncIterator[None]:
        """Load the models that are to be loaded at start; when the context closes, those who wait for it go."""
        self.preload()
        try:
            yield
        finally:
            if self._loading:
                self._loading.cancel()

    def preload(self) -> None:
        """Begin to load the models that are to be loaded at start and are not in memory."""
        if self._loading:
            self._loading.cancel()
        self._begin(self._preloaded)

    def load_missing(self) -> list[ModelCard]:
        """Begin to load the models that have not been in memory yet, and say which they are.

        A model that could not be loaded is tried again half a minute later.
        """
        status = self._gateway.registry.status
        wanted = dict.fromkeys((*self._preloaded, self._gateway.default.card))
        missing = [card for card in wanted if not status(card).loaded_once]
        if missing and (self._loading is None or self._loading.done()) and time.monotonic() >= self._not_before:
            self._begin(missing)
        return missing

    def _begin(self, cards: Sequence[ModelCard]) -> None:
        self._loading = asyncio.create_task(self._load(cards), name="preload")

    async def _load(self, cards: Sequence[ModelCard]) -> None:
        for card in cards:
            try:
                # asked for anew: the models file may have been read again meanwhile
                async with self._gateway.registry.lease(self._gateway.catalog.resolve(card.id)):
                    self.failures.pop(card.id, None)
            except RerankError as error:
                self.failures[card.id] = error.message
                logger.error("%s could not be loaded ahead: %s", card.id, error.message)
                self._not_before = time.monotonic() + _RETRY_SECONDS
