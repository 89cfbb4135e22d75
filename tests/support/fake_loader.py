"""A loader of models without weights, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rerank.activations import SIGMOID
from rerank.backends.base import Backend, FoundModel, LoadedModel, Local
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER
from rerank.core import Chunking, Embedding, EmbeddingOptions, Pair, RawScore, ScoringOptions, Span, T, TextTokenizer

DEVICE = "test"
WEIGHTS = "0" * 32
"""The fingerprint of every model's weights."""
Load = Callable[[ModelCard], LoadedModel]


class NoBackend:
    """A model that is there, and never asked to score."""

    max_length = 512
    activation = SIGMOID
    gives_logits = True
    takes_instruction = False
    gives_vectors = False
    cacheable = True

    async def embed(self, texts: Sequence[str], options: EmbeddingOptions, *, caller: str = "") -> list[Embedding]:
        raise NotImplementedError

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        raise NotImplementedError

    async def chunks(
        self, pairs: Sequence[Pair], options: ScoringOptions, chunking: Chunking, *, caller: str = ""
    ) -> list[list[Span]]:
        raise NotImplementedError

    async def use_tokenizer(self, use: Callable[[TextTokenizer], T], *, caller: str = "") -> T:
        raise NotImplementedError

    def close(self) -> None:
        pass


def without_backend(card: ModelCard) -> LoadedModel:
    """The card's model as a loader gives it."""
    return loaded(card, NoBackend())


def loaded(card: ModelCard, backend: Backend, size: int = 0) -> LoadedModel:
    """A model on the device of tests."""
    local = Local(BI_ENCODER if backend.gives_vectors else CROSS_ENCODER, "cpu", "none", "fp32", 0.0, {DEVICE: size})
    return LoadedModel(card, backend, local, card.id, weights=WEIGHTS)


class FakeLoader:
    """Finds every model on disk, and has ``load`` make it; ``sizes`` says what the models need, by id."""

    def __init__(self, load: Load, sizes: Mapping[str, int] | None = None) -> None:
        self._load = load
        self._sizes = sizes or {}

    def find(self, card: ModelCard) -> FoundModel:
        return FoundModel(card, {DEVICE: self._sizes.get(card.id, 0)})

    def estimate(self, card: ModelCard, checkpoint: Checkpoint) -> Mapping[str, int]:
        return {}

    def load(self, found: FoundModel) -> LoadedModel:
        return self._load(found.card)
