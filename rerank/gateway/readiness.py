"""Readiness and preloading of models."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rerank.catalog.cards import ModelCard
from rerank.errors import RerankError, ServerStopping
from rerank.gateway.gateway import Gateway

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 30.0
"""Seconds before a failed load is retried, however often readiness is asked for."""


class Readiness:
    """State of the preloaded models and the default one.

    A model that was loaded once counts as ready, even if it has been evicted: a request reloads it. Its methods belong
    to the event loop's thread.
    """

    def __init__(
        self, gateway: Gateway, preloaded: Sequence[ModelCard] = (), retry_seconds: float = _RETRY_SECONDS
    ) -> None:
        self._gateway = gateway
        self._preloaded = preloaded
        self._retry_seconds = retry_seconds
        self._loading: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self.failures: dict[str, str] = {}
        """Error of the last load, by model id."""

    @asynccontextmanager
    async def preloading(self) -> AsyncIterator[None]:
        """Preload models while the context is open."""
        self.preload()
        try:
            yield
        finally:
            if self._loading:
                self._loading.cancel()

    def preload(self) -> None:
        """Start loading the preloaded models that are not in memory."""
        if self._loading:
            self._loading.cancel()
        self._begin(self._preloaded)

    def load_missing(self) -> list[ModelCard]:
        """Start loading the models that were never in memory, and return them.

        A failed load is retried after half a minute.
        """
        status = self._gateway.registry.status
        cards = (*self._preloaded, self._gateway.default.card)
        wanted = dict.fromkeys(each for card in cards for each in self._gateway.first_choice(card))
        missing = [card for card in wanted if not status(card).loaded_once]
        if missing and (self._loading is None or self._loading.done()) and time.monotonic() >= self._not_before:
            self._begin(missing)
        return missing

    def _begin(self, cards: Sequence[ModelCard]) -> None:
        self._loading = asyncio.create_task(self._load(cards), name="preload")

    async def _load(self, cards: Sequence[ModelCard]) -> None:
        for card in cards:
            try:
                # resolved here, because the models file may have been reloaded
                for model in self._gateway.first_choice(self._gateway.catalog.resolve(card.id)):
                    async with self._gateway.registry.lease(model):
                        pass
                self.failures.pop(card.id, None)
            except ServerStopping:
                return
            except RerankError as error:
                self.failures[card.id] = error.message
                logger.error("preloading %s failed: %s", card.id, error.message)
                self._not_before = time.monotonic() + self._retry_seconds
