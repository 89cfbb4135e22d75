"""A loader of models without weights, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rerank.backends.loader import FoundModel, LoadedModel
from rerank.catalog.cards import Family, ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Activation, Pair, RawScore, T, TextTokenizer, Truncation

DEVICE = "test"
Load = Callable[[ModelCard], LoadedModel]
NO_CHECKPOINT = Checkpoint(Path("nowhere"), "NoneForSequenceClassification", Family.CROSS_ENCODER, None, ())


class NoBackend:
    """A model that is there, and never asked to score."""

    max_length = 512
    activation = Activation.SIGMOID

    async def score(
        self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None, *, caller: str = ""
    ) -> list[RawScore]:
        raise NotImplementedError

    async def use_tokenizer(self, use: Callable[[TextTokenizer], T], *, caller: str = "") -> T:
        raise NotImplementedError

    def close(self) -> None:
        pass


def without_backend(card: ModelCard) -> LoadedModel:
    """The card's model as a loader gives it."""
    return LoadedModel(card, NoBackend(), Family.CROSS_ENCODER, "test", "none", 0.0, "fp32", {DEVICE: 0})


class FakeLoader:
    """Finds every model on disk, and has ``load`` make it; ``sizes`` says what the models need, by id."""

    def __init__(self, load: Load, sizes: Mapping[str, int] | None = None) -> None:
        self._load = load
        self._sizes = sizes or {}

    def find(self, card: ModelCard) -> FoundModel:
        return FoundModel(card, NO_CHECKPOINT, {DEVICE: self._sizes.get(card.id, 0)})

    def load(self, found: FoundModel) -> LoadedModel:
        return self._load(found.card)
