"""Backend, Loader and their records: the contract of a model with the layers above. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rerank.activations import Activation
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Chunking, Embedding, EmbeddingOptions, Pair, RawScore, ScoringOptions, Span, TextTokenizer
from rerank.errors import ModelTooLarge
from rerank.units import human_size

T = TypeVar("T")


class Backend(Protocol):
    """One model that can score, wherever it runs."""

    @property
    def max_length(self) -> int:
        """Maximum tokens per pair."""
        ...

    @property
    def activation(self) -> Activation:
        """The function from raw score to relevance."""
        ...

    @property
    def gives_logits(self) -> bool:
        """False for a model whose raw scores are relevance already."""
        ...

    @property
    def takes_instruction(self) -> bool:
        """False for a model that leaves an instruction out."""
        ...

    @property
    def cacheable(self) -> bool:
        """False for a model whose score of a pair depends on the other pairs of the call."""
        ...

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        """A raw score for each pair, in order. Cancelling drops the pairs that still wait.

        Callers share the device equally, however many requests each has. ``until`` is a moment of ``time.monotonic``:
        after it no pair is begun, and those that were not are ``UNSCORED``. Then pairs are scored in the order given.
        """
        ...

    async def chunks(
        self, pairs: Sequence[Pair], options: ScoringOptions, chunking: Chunking, *, caller: str = ""
    ) -> list[list[Span]]:
        """For each pair the parts of its document to score apart, in order; one that is read whole has one.

        Each part is read whole as a document next to the pair's query.
        """
        ...

    @property
    def gives_vectors(self) -> bool:
        """False for a model that reads query and document together."""
        ...

    async def embed(self, texts: Sequence[str], options: EmbeddingOptions, *, caller: str = "") -> list[Embedding]:
        """A vector for each text, in order, as ``score`` for pairs. Only of a model that ``gives_vectors``."""
        ...

    async def use_tokenizer(self, use: Callable[[TextTokenizer], T], *, caller: str = "") -> T:
        """The result of ``use`` on the model's tokenizer, off the event loop."""
        ...

    def close(self) -> None:
        """Free the model's memory. Blocks; to be called once, when no work runs any more."""
        ...


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model that can be loaded: its weights are on disk, if it has any."""

    card: ModelCard
    size: Mapping[str, int]
    """Estimated bytes on each device; empty for a model that runs elsewhere."""
    checkpoint: Checkpoint | None = None
    """The weights; None for a model that runs elsewhere."""


@dataclass(frozen=True, slots=True)
class Local:
    """Properties of a model on this machine."""

    family: str
    device: str
    """Its devices, separated by commas."""
    runtime: str
    """For people: library, precision, kernel."""
    precision: str
    """fp32, bf16, fp16 or int8; separated by commas if devices differ."""
    load_seconds: float
    """Seconds to read the weights and warm up."""
    size: Mapping[str, int]
    """Measured bytes on each device."""


@dataclass(frozen=True, slots=True)
class Remote:
    """Properties of a model on another server."""

    api: str
    host: str
    """Its host and port."""
    model: str
    """The model's name there."""
    breaker: Callable[[], str]
    """State of the circuit breaker now: closed, open or half-open."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to score."""

    card: ModelCard
    backend: Backend
    local: Local | None = None
    fingerprint: str = ""
    """Identifies the weights, and all else of the model that its scores depend on; empty if nothing does."""
    remote: Remote | None = None
    weights: str = ""
    """Identifies the weights, and how the card says that they score; empty if nothing does."""

    @property
    def size(self) -> Mapping[str, int]:
        """Bytes on each device of this machine."""
        return self.local.size if self.local else {}


class Loader(Protocol):
    """Loads models. Its methods block, and are called on threads of their own."""

    def find(self, card: ModelCard) -> FoundModel:
        """Locate the weights, or fetch them. Called for several models at once."""
        ...

    def estimate(self, card: ModelCard, checkpoint: Checkpoint) -> Mapping[str, int]:
        """Estimated bytes on each device of a model on disk. Raises ModelUnavailable."""
        ...

    def load(self, found: FoundModel) -> LoadedModel:
        """Load the weights. Called for one at a time of the models that take memory."""
        ...


def too_large(model_id: str, needed: int, device: str, available: int, pinned: Sequence[str] = ()) -> ModelTooLarge:
    """The error for a model that can never fit: what it needs, and what the pinned models leave."""
    stay = f" next to the pinned {', '.join(pinned)}" if pinned else ""
    return ModelTooLarge(
        f"{model_id} needs {human_size(needed)} on {device}; the budget for models there has "
        f"{human_size(max(0, available))}{stay} (RERANK_MEMORY_BUDGET)."
    )
