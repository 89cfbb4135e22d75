"""Types that every stage shares. Frozen, free of tensors and of HTTP."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

Vector = memoryview
"""An embedding: float32 numbers, one per dimension."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

# Pair and RawScore exist once per document, and a tuple is made several times faster than a dataclass.


class Pair(NamedTuple):
    """One query and one document, to be scored together."""

    query: str
    document: str


class RawScore(NamedTuple):
    """A pair's raw logit (fp32 precision), the number of tokens the model read for it, and what it did not read."""

    logit: float
    tokens: int
    truncated: bool | None = False
    """True if the document was cut; None if the server that has the model does not say."""

    @property
    def scored(self) -> bool:
        """False for a pair that there was no time for."""
        return self.logit != -math.inf


UNSCORED = RawScore(-math.inf, 0)
"""In place of the score of a pair that there was no time for."""


def any_truncated(parts: Iterable[bool | None]) -> bool | None:
    """True if one was cut; None if that is not known of all."""
    said = set(parts)
    return True if True in said else None if None in said else False


class Span(NamedTuple):
    """A part of a text, in characters."""

    start: int
    end: int


class TextTokens(Protocol):
    """The tokens of a single text, by column: a text may have hundreds of thousands."""

    @property
    def ids(self) -> list[int]:
        """Ids in the vocabulary."""
        ...

    @property
    def pieces(self) -> list[str]:
        """The tokens as the vocabulary spells them."""
        ...

    @property
    def special(self) -> list[int]:
        """1 for a token that the tokenizer adds, else 0."""
        ...

    @property
    def spans(self) -> list[tuple[int, int]]:
        """The characters of the text that each stands for: start and end."""
        ...


class TextTokenizer(Protocol):
    """A model's tokenizer, for single texts. May be used from several threads at once."""

    def tokens(self, text: str, *, special: bool) -> TextTokens:
        """The tokens of a whole text, with or without ``special`` tokens."""
        ...

    def text(self, ids: Sequence[int], *, special: bool, field: str) -> str:
        """The text that ids stand for, with or without ``special`` tokens.

        Raises InvalidRequest for an unknown id, naming its place in ``field``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Truncation:
    """Limits of a pair in tokens. ``None`` leaves the model's own limit.

    The query is always kept whole; the document is cut.
    """

    max_tokens: int | None = None
    """Limit of the whole pair, special tokens included; -1 means the model's limit."""
    max_tokens_per_document: int | None = None
    """Limit of the document's own tokens."""
    allowed: bool = True
    """False refuses a pair that would have to be cut."""
    side: Literal["left", "right"] = "right"
    """The end of the document that is cut."""

    def kept(self, length: int, room: int) -> slice:
        """The slice of a document's ``length`` tokens that fits."""
        return slice(max(0, length - room), length) if self.side == "left" else slice(0, room)


@dataclass(frozen=True, slots=True)
class ScoringOptions:
    """Everything but the texts and the model that a pair's raw score depends on, and ``cached``.

    The cache hashes every other field.
    """

    truncation: Truncation = Truncation()
    instruction: str | None = None
    """Task of the model; None leaves the model's own instruction."""
    cached: bool = True
    """False computes everything again."""


DEFAULT_OPTIONS = ScoringOptions()


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a document longer than the model reads is read: in overlapping chunks of the model's length."""

    most: int
    """Maximum chunks per document; of more than that, evenly spread ones are read."""
    overlap: int = 64
    """Tokens that a chunk shares with the next."""
    aggregate: Literal["max", "mean", "first"] = "max"
    """How the chunks' scores become the document's."""
    listed: bool = False
    """True if the answer is to list every chunk's score."""


@dataclass(frozen=True, slots=True)
class EmbeddingOptions:
    """Everything but the text and the model that an embedding depends on."""

    truncation: Truncation = Truncation()
    prompt: str | None = None
    """Name of a prompt saved with the model, put before each text; None leaves the model's default."""
    role: Literal["query", "document"] | None = None
    """What the texts are, for models that have a prompt for it."""
    dimensions: int | None = None
    """Numbers to keep of each vector; None keeps all."""
    normalised: bool | None = None
    """True for vectors of length 1; None leaves them as the model's own modules do."""
    instruction: str | None = None
    """The task of queries, for models whose prompt names one; None leaves the model's own."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of one key, and what the key allows."""

    name: str = ""
    """Empty for requests without a key: they are one caller."""
    admin: bool = False
    """True allows to load, unload and pin models."""
    models: tuple[str, ...] | None = None
    """Ids of the allowed models, the first for requests that name none; None allows every model."""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    def may_use(self, model: str) -> bool:
        """True if the key allows the model with this id."""
        return self.models is None or model in self.models


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """A request to score pairs, independent of its dialect."""

    pairs: tuple[Pair, ...]
    model: str | None = None
    """The model's name in the request; None asks for the default model."""
    options: ScoringOptions = DEFAULT_OPTIONS
    top_n: int = 0
    """Number of documents to rank; 0 ranks all."""
    activated: bool = True
    """False asks for raw logits instead of relevance in 0..1."""
    logits_only: bool = True
    """False takes relevance, too, where raw logits are asked for and the model gives none."""
    fallbacks: tuple[str, ...] = ()
    """Names of models to try in order when the first is unavailable."""
    chunking: Chunking | None = None
    """How long documents are read; None leaves it to the model's card."""
    calibrated: bool | None = None
    """True asks for calibrated relevance, False for that of the model itself; None leaves it to the model's card."""
    min_score: float | None = None
    """Results with less relevance are left out."""
    budget: float | None = None
    """Seconds until the best answer that can be had by then; None waits for every score."""
    within: float | None = None
    """Maximum seconds until the answer; None leaves the server's limit."""
    caller: Caller = Caller()


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """A request to embed texts, independent of its dialect."""

    texts: tuple[str, ...]
    model: str | None = None
    options: EmbeddingOptions = EmbeddingOptions()
    within: float | None = None
    caller: Caller = Caller()


class Embedding(NamedTuple):
    """A text's vector, and the number of tokens the model read for it."""

    vector: Vector
    tokens: int


@dataclass(frozen=True, slots=True)
class EmbeddingResult:
    """The vectors of a request, in order."""

    vectors: tuple[Vector, ...]
    tokens: int
    model: str
    """Id of the model that answered."""


@dataclass(frozen=True, slots=True)
class TokenizerRequest(Generic[T]):
    """Work for a model's tokenizer alone."""

    use: Callable[[TextTokenizer], T]
    texts: int
    tokens: int
    """Estimated number of tokens read or written."""
    model: str | None = None
    within: float | None = None
    caller: Caller = Caller()


@dataclass(frozen=True, slots=True)
class TokenizerResult(Generic[T]):
    """The result of a tokenizer request."""

    value: T
    tokens: int
    model: str
    max_length: int
    """Maximum tokens per pair."""


class Pending(Protocol[T_co]):
    """The results of a batch on its device. An asynchronous device leaves time to prepare the next batch meanwhile."""

    @property
    def done(self) -> bool:
        """True if ``result`` returns at once."""
        ...

    def result(self) -> Sequence[T_co]:
        """One result per item of the batch, in order. Waits for the device."""
        ...


PendingLogits = Pending[float]
"""One raw logit per pair."""


@dataclass(frozen=True, slots=True)
class Finished(Generic[T]):
    """Results that are already computed."""

    results: Sequence[T]
    done = True

    def result(self) -> Sequence[T]:
        """See ``Pending.result``."""
        return self.results
