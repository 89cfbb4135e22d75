"""The loader of every card: models on this machine, behind other servers, and keyword search."""

from __future__ import annotations

from collections.abc import Mapping

from rerank.backends.base import FoundModel, LoadedModel, Loader
from rerank.backends.fingerprints import weights_fingerprint
from rerank.backends.lexical import LexicalBackend
from rerank.backends.remote.loader import RemoteLoader
from rerank.backends.tokenisers import Tokenisers
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.families import LEXICAL


class CardLoader:
    """Sends each card to the loader of its kind. What takes no memory waits for no load."""

    def __init__(self, local: Loader, remote: RemoteLoader, tokenisers: Tokenisers) -> None:
        self._local = local
        self._remote = remote
        self._tokenisers = tokenisers

    def find(self, card: ModelCard) -> FoundModel:
        """See ``Loader.find``."""
        return self._local.find(card) if card.has_weights else FoundModel(card, {})

    def estimate(self, card: ModelCard, checkpoint: Checkpoint) -> Mapping[str, int]:
        """See ``Loader.estimate``."""
        return self._local.estimate(card, checkpoint)

    def load(self, found: FoundModel) -> LoadedModel:
        """See ``Loader.load``."""
        card = found.card
        if card.upstream:
            return self._remote.load(card, card.upstream)
        if not card.has_weights:
            backend = LexicalBackend(card, self._tokenisers)
            return LoadedModel(card, backend, weights=weights_fingerprint(card, backend.activation, LEXICAL))
        return self._local.load(found)
