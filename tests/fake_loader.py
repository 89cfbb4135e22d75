"""A loader of models without weights, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rerank.backends.loader import FoundModel, LoadedModel
from rerank.catalog.cards import Family, ModelCard
from rerank.catalog.checkpoint import Checkpoint

DEVICE = "test"
Load = Callable[[ModelCard], LoadedModel]
NO_CHECKPOINT = Checkpoint(Path("nowhere"), "NoneForSequenceClassification", Family.CROSS_ENCODER, None, ())


class FakeLoader:
    """Finds every model on disk, and has ``load`` make it; ``sizes`` says what the models need, by id."""

    def __init__(self, load: Load, sizes: Mapping[str, int] | None = None) -> None:
        self._load = load
        self._sizes = sizes or {}

    def find(self, card: ModelCard) -> FoundModel:
        return FoundModel(card, NO_CHECKPOINT, {DEVICE: self._sizes.get(card.id, 0)})

    def load(self, found: FoundModel) -> LoadedModel:
        return self._load(found.card)
