"""The model that a request is for, by the cards that the replicas have, too."""

from __future__ import annotations

import asyncio

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.core import Caller
from rerank.gateway.choosing import default_model, find_model
from rerank.gateway.routing.plan import first_choice, plan_of
from rerank.settings import Settings

_UNKNOWN = 1
"""Bytes of weights that are not on disk yet; 0 is a model without any, which takes no time to load."""


class Models:
    """Names of models, resolved as a replica resolves them. May look through folders."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._catalog = catalog
        self._name_of_default = settings.default_model
        self._bytes: dict[str, int] = {}
        self.reload()

    def reload(self) -> None:
        """Take the catalog as it is now. Raises SettingsError."""
        self._default = self._catalog.choose_default(self._name_of_default)
        self._bytes.clear()

    async def find(self, name: str | None, caller: Caller) -> tuple[str, int]:
        """See ``wanted``."""
        if self._catalog.is_large:
            return await asyncio.to_thread(self.wanted, name, caller)
        return self.wanted(name, caller)

    def wanted(self, name: str | None, caller: Caller) -> tuple[str, int]:
        """The id of the model that a request needs in memory, and the bytes of its weights. Raises RerankError.

        Of a model that is made of others it is the last that has weights: the stage that takes the longest.
        """
        catalog = self._catalog
        card = find_model(catalog, name, caller) if name else default_model(catalog, self._default, caller).card
        members = list(first_choice(plan_of(card, catalog.resolve)))
        needed = next((member for member in reversed(members) if member.has_weights), members[0])
        return needed.id, self._bytes_of(needed)

    def _bytes_of(self, card: ModelCard) -> int:
        if card.id not in self._bytes:
            if not card.has_weights:
                return 0
            checkpoint = self._catalog.checkpoint(card)
            if checkpoint is None:
                return _UNKNOWN
            self._bytes[card.id] = checkpoint.weight_bytes
        return self._bytes[card.id]
