"""What the rest of the server asks of a model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rerank.activations import Activation
from rerank.core import DEFAULT_OPTIONS, Pair, PendingLogits, ScoringOptions, TextTokenizer, Truncation
from rerank.devices import Device
from rerank.errors import InvalidRequest

T = TypeVar("T")
Reading = Generator[int, None, T]
"""Work on texts in parts, between which others have their turn: yields how many characters a part has read."""
TURN_CHARACTERS = 64 * 1024
"""Characters that are read before others have their turn, about."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a model is to run."""

    device: Device
    converted: Path
    """Folder for networks converted to OpenVINO."""
    max_length: int | None = None
    """Tokens of a pair; replaces the card's."""


class ReadsInParts:
    """A scorer that reads texts in parts, and so also all at once."""

    takes_instruction = False

    def encode(self, pairs: Sequence[Pair], options: ScoringOptions = DEFAULT_OPTIONS) -> list[Any]:
        """See ``Scorer.encode``."""
        return finish(self.reading(pairs, options))

    @abstractmethod
    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Any]]:
        """See ``Scorer.reading``."""


class Encoded(Protocol):
    """A pair as tokens, hashable, equal for equal tokens; what is inside is the scorer's own business."""

    @property
    def tokens(self) -> int:
        """Tokens the model reads for this pair, special tokens included."""
        ...

    @property
    def computed(self) -> int:
        """Tokens it costs a device: of those it shares with other pairs of its request, its part."""
        ...


class Scorer(Protocol):
    """One loaded model.

    Texts may be read on several threads at once; ``start`` only from the one thread that owns the device,
    but for the check right after loading, when nobody else knows the scorer yet.
    """

    @property
    def max_length(self) -> int:
        """Tokens of the longest pair the model reads."""
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
    def runtime(self) -> str:
        """What runs the network, for people: library, precision, kernel."""
        ...

    @property
    def precision(self) -> str:
        """What its products multiply: fp32, bf16, fp16 or int8."""
        ...

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Any]]:
        """Tokens of each pair, in order: a list of this scorer's own ``Encoded``. No more is read than is kept.

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
        """True where pairs cost more beside a longer one, be it in attention only; False where each costs its own."""
        ...

    @property
    def bytes_per_token(self) -> int:
        """Device memory one token of a batch takes while it runs, about."""
        ...

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        """Put a batch on the device: one raw fp32 logit a pair, in order, is on its way."""
        ...


def finish(reading: Reading[T]) -> T:
    """Read to the end and return what came of it."""
    try:
        while True:
            next(reading)
    except StopIteration as end:
        result: T = end.value
        return result


def score(scorer: Scorer, batch: Sequence[Any]) -> list[float]:
    """Start a batch and wait for its logits."""
    return scorer.start(batch).result()


def pair_limit(truncation: Truncation, max_length: int) -> int:
    """Tokens a whole pair may have. Raises InvalidRequest where the caller asks for more than the model reads."""
    asked = truncation.max_tokens
    if asked is None or asked == -1:
        return max_length
    if asked == 0:
        raise InvalidRequest("truncate_prompt_tokens leaves no room for a pair", param="truncate_prompt_tokens")
    if asked > max_length:
        raise InvalidRequest(
            f"truncate_prompt_tokens value is greater than max_model_len ({max_length}). "
            "Please request a smaller truncation size.",
            param="truncate_prompt_tokens",
        )
    return asked


def document_limit(query_tokens: int, limit: int, max_length: int, *, whole: bool = True) -> int:
    """Tokens left for a document beside a query (special tokens counted with it), of which at least one is needed.

    ``whole`` is False if the query has more tokens than that.
    """
    room = limit - query_tokens
    if room < 1:
        raise query_too_long(query_tokens, limit, max_length, whole=whole)
    return room


_REDUCE = "Please reduce the length of the input prompt"
"""By these words clients of vLLM know the error."""


def query_too_long(query_tokens: int, limit: int, max_length: int, *, whole: bool = True) -> InvalidRequest:
    """The error for a query that fills the limit by itself: it is never cut."""
    return InvalidRequest(
        f"The query takes {_counted(query_tokens, whole=whole)} of the {limit} tokens it may have, which leaves no "
        f"room for a document (this model reads at most {max_length} tokens). {_REDUCE}.",
        param="query",
    )


def too_long(index: int, tokens: int, limit: int, *, whole: bool = True) -> InvalidRequest:
    """The error for a pair that would have to be cut though the caller forbade it.

    ``whole`` is False if it has more tokens than that.
    """
    return InvalidRequest(
        f"This model's maximum context length is {limit} tokens. However, documents.{index} with the query has "
        f"{_counted(tokens, whole=whole)} input tokens. {_REDUCE}, or allow truncation. "
        f"(parameter=input_tokens, value={tokens})",
        param="input_tokens",
    )


def _counted(tokens: int, *, whole: bool) -> str:
    """A number of tokens in a message: a text is not read further than to see that it is too long."""
    return str(tokens) if whole else f"at least {tokens}"
