"""Scorers: the contract between a loaded model and the scheduler, and the limits of a pair."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from rerank.activations import Activation
from rerank.core import (
    DEFAULT_OPTIONS,
    EmbeddingOptions,
    Pair,
    Pending,
    PendingLogits,
    ScoringOptions,
    Span,
    TextTokenizer,
    Truncation,
    Vector,
)
from rerank.devices import Device
from rerank.errors import InvalidRequest, PairTooLong, TokenUnknown
from rerank.scorers.vector_cache import VectorCache

T = TypeVar("T")


class Part(NamedTuple):
    """A part of the work of tokenising."""

    characters: int
    """Those that it reads, or that take as long."""
    quick: bool = True
    """False where few characters may take long."""


Reading = Generator[Part, None, T]
"""Tokenising in parts, between which other requests get a turn. Yields each part before it is done."""
TURN_CHARACTERS = 64 * 1024
"""Approximate characters per part."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Device, precision and length for one load."""

    device: Device
    converted: Path
    """Folder for networks converted to OpenVINO."""
    max_length: int | None = None
    """Maximum tokens per pair; replaces the card's."""
    vector_cache_bytes: int = 0
    """Memory for vectors of documents, on a CPU."""

    def new_vector_cache(self) -> VectorCache | None:
        """An empty one for a model that is loaded now; None on a GPU, whose vectors would have to be fetched."""
        return VectorCache(self.vector_cache_bytes) if self.device.name == "cpu" and self.vector_cache_bytes else None


class ReadsInParts:
    """A scorer that reads texts in parts, and so also all at once."""

    takes_instruction = False
    embedder: Embedder | None = None

    def encode(self, pairs: Sequence[Pair], options: ScoringOptions = DEFAULT_OPTIONS) -> list[Any]:
        """See ``Scorer.encode``."""
        return finish(self.reading(pairs, options))

    @abstractmethod
    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Any]]:
        """See ``Scorer.reading``."""


class Encoded(Protocol):
    """A pair, or a text to embed, as tokens. Hashable, equal for equal tokens, opaque to all but its scorer."""

    @property
    def tokens(self) -> int:
        """Tokens the model reads for this pair, special tokens included."""
        ...

    @property
    def computed(self) -> int:
        """Tokens that the device computes for it, with its part of those shared by pairs of its request."""
        ...


class EncodedPair(Encoded, Protocol):
    """A pair as tokens."""

    @property
    def cut(self) -> Span | None:
        """The characters of its document that the model reads, if it is cut; None if it is read whole."""
        ...


class Embedder(Protocol):
    """An embedding model's vectors of single texts. Threads may use it as they use a ``Scorer``."""

    @property
    def padded(self) -> bool:
        """See ``Scorer.padded``."""
        ...

    @property
    def bytes_per_token(self) -> int:
        """See ``Scorer.bytes_per_token``."""
        ...

    def reading(self, texts: Sequence[str], options: EmbeddingOptions) -> Reading[list[Any]]:
        """Tokens of each text, in order: a list of this embedder's own ``Encoded``.

        Raises InvalidRequest for a prompt or dimensions that the model does not have, or naming the text that does
        not fit where cutting is not allowed.
        """
        ...

    def start(self, batch: Sequence[Any]) -> Pending[Vector]:
        """Start a batch on the device; its result is one vector per text, in order."""
        ...


class Scorer(Protocol):
    """One loaded model.

    Texts may be read on several threads at once; ``start`` only from the one thread that owns the device,
    except for the check right after loading, when no other thread has the scorer.
    """

    @property
    def max_length(self) -> int:
        """Maximum tokens per pair."""
        ...

    @property
    def activation(self) -> Activation:
        """How this model's raw logits become relevance."""
        ...

    @property
    def takes_instruction(self) -> bool:
        """False for a model that leaves an instruction out."""
        ...

    @property
    def embedder(self) -> Embedder | None:
        """The same model's vectors; None for a model that reads query and document together."""
        ...

    @property
    def runtime(self) -> str:
        """Library, precision and kernel, to be displayed."""
        ...

    @property
    def precision(self) -> str:
        """Number format of its matrix products: fp32, bf16, fp16 or int8."""
        ...

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Any]]:
        """Tokens of each pair, in order: a list of this scorer's own ``EncodedPair``. Reads no further than it keeps.

        Raises InvalidRequest naming the document that does not fit where cutting is not allowed, or a query that
        leaves no room for a document.
        """
        ...

    def encode(self, pairs: Sequence[Pair], options: ScoringOptions = DEFAULT_OPTIONS) -> list[Any]:
        """See ``reading``; all at once."""
        ...

    @property
    def tokenizer(self) -> TextTokenizer:
        """The checkpoint's own tokenizer, for texts that stand alone."""
        ...

    @property
    def padded(self) -> bool:
        """True if a pair costs more next to a longer one, if only in attention; False if each costs its own tokens."""
        ...

    @property
    def bytes_per_token(self) -> int:
        """Approximate device memory per token of a running batch."""
        ...

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        """Start a batch on the device; its result is one raw fp32 logit per pair, in order."""
        ...


def finish(reading: Reading[T]) -> T:
    """Read to the end and return the result."""
    try:
        while True:
            next(reading)
    except StopIteration as end:
        result: T = end.value
        return result


def score(scorer: Scorer, batch: Sequence[Any]) -> list[float]:
    """Start a batch and wait for its logits."""
    return list(scorer.start(batch).result())


_TOO_GREAT = (
    "truncate_prompt_tokens value is greater than max_model_len ({}). Please request a smaller truncation size."
)
"""vLLM's own words."""


def pair_limit(truncation: Truncation, max_length: int) -> int:
    """Maximum tokens of a whole pair. Raises InvalidRequest where the caller asks for more than the model reads."""
    asked = truncation.max_tokens
    if asked is None or asked == -1:
        return max_length
    if asked == 0:
        raise InvalidRequest("truncate_prompt_tokens leaves no room for a pair", param="truncate_prompt_tokens")
    if asked > max_length:
        raise InvalidRequest(_TOO_GREAT.format(max_length), param="truncate_prompt_tokens")
    return asked


def document_limit(query_tokens: int, limit: int, max_length: int, *, whole: bool = True) -> int:
    """Tokens left for a document next to a query, whose count includes special tokens; at least one is required.

    ``whole`` is False if the query has more tokens than that.
    """
    room = limit - query_tokens
    if room < 1:
        raise query_too_long(query_tokens, limit, max_length, whole=whole)
    return room


_REDUCE = "Please reduce the length of the input prompt"
"""Clients of vLLM recognise the error by these words."""


def query_too_long(query_tokens: int, limit: int, max_length: int, *, whole: bool) -> InvalidRequest:
    """The error for a query that alone fills the limit; queries are never cut."""
    return InvalidRequest(
        f"The query takes {_counted(query_tokens, whole=whole)} of the {limit} tokens it may have, which leaves no "
        f"room for a document (this model reads at most {max_length} tokens). {_REDUCE}.",
        param="query",
    )


def too_long(index: int, tokens: int, limit: int, *, whole: bool = True) -> PairTooLong:
    """The error for a pair that would have to be cut although the request forbids it.

    ``whole`` is False if it has more tokens than that.
    """
    return PairTooLong(index, _exceeding("{} with the query", tokens, limit, whole=whole))


def text_too_long(index: int, tokens: int, limit: int, *, whole: bool) -> InvalidRequest:
    """The same for a text to embed."""
    return InvalidRequest(_exceeding(f"input.{index}", tokens, limit, whole=whole), param="input_tokens")


def unknown_token(text: str, place: int, token: str, rows: int) -> InvalidRequest:
    """The error for a text with a token that stands behind the model's table; ``text`` is what a request calls it."""
    shown = repr(token).replace("{", "{{").replace("}", "}}")
    told = (
        f"{{}} holds the token {shown}, which its tokenizer knows and the model does not: "
        f"its table ends after {rows} tokens. Remove it from the text."
    )
    if text == "documents":
        return TokenUnknown(place, told)
    named = text if text == "query" else f"{text}.{place}"
    return InvalidRequest(told.format(named), param=named)


def _exceeding(text: str, tokens: int, limit: int, *, whole: bool) -> str:
    return (
        f"This model's maximum context length is {limit} tokens. However, {text} has "
        f"{_counted(tokens, whole=whole)} input tokens. {_REDUCE}, or allow truncation. "
        f"(parameter=input_tokens, value={tokens})"
    )


def _counted(tokens: int, *, whole: bool) -> str:
    """A number of tokens in a message; a text is read only until it is known to be too long."""
    return str(tokens) if whole else f"at least {tokens}"
