"""Embedding models: vectors of texts, and as rerankers, whose raw score is the cosine of query and document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy

from rerank.activations import COSINE, IDENTITY, Activation
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import EmbeddingOptions, Pair, Pending, PendingLogits, ScoringOptions, Span, Vector
from rerank.errors import InvalidRequest
from rerank.runtimes.base import TokenIds, Values, pending, placed, read_later
from rerank.scorers.base import Reading, ReadsInParts, pair_limit
from rerank.scorers.bi_encoder.prompts import around_task
from rerank.scorers.heads import of_length_one
from rerank.scorers.saved_modules import saved_dimensions
from rerank.scorers.tokens import PairTokenizer, Vocabulary
from rerank.scorers.vector_cache import VectorCache, known_vectors


class SentenceVectors(Protocol):
    """An embedding model on its device."""

    padded: bool
    """True if every sequence of a batch costs as much as the longest."""
    device: str
    precision: str
    """Number format of its matrix products: fp32, bf16, fp16 or int8."""
    description: str
    """Library, precision and kernel, to be displayed."""

    def __call__(self, sequences: Sequence[TokenIds]) -> Values:
        """Vectors of shape (sequences, dimensions), not normalised."""
        ...


@dataclass(frozen=True, slots=True)
class SentenceReading:
    """How an embedding model reads texts."""

    tokenizer: PairTokenizer
    prompts: Mapping[str, str | None]
    """The text prepended, by name; ``query`` and ``document`` are those of the two roles."""
    default_prompt: str | None = None
    """Name of the prompt for texts of neither role."""

    def instructed(self, instruction: str | None) -> SentenceReading:
        """The same with this task for queries; as it is without one, or if its prompts name none."""
        around = around_task(self.prompts) if instruction else None
        if around is None:
            return self
        before, behind = around
        return replace(self, prompts={**self.prompts, "query": f"{before}{instruction}{behind}"})

    def put(self, name: str | None, texts: Sequence[str]) -> list[str]:
        """The texts, each after the prompt of this name, if the model has it."""
        prompt = self.prompts.get(name or "") or ""
        return [prompt + text for text in texts]

    def put_for(self, options: EmbeddingOptions, texts: Sequence[str]) -> list[str]:
        """The texts, each after the prompt that a request asks for. Raises InvalidRequest for one that there is not."""
        name = self.prompt_for(options)
        if options.instruction and around_task(self.prompts) is None:
            raise InvalidRequest("The model takes no instruction: put it before each text.", param="instruction")
        if options.instruction and name != "query":
            raise InvalidRequest(
                "An instruction is for queries: send `input_type: query` too, and no `prompt_name`.",
                param="instruction",
            )
        return self.instructed(options.instruction).put(name, texts)

    def prompt_for(self, options: EmbeddingOptions) -> str | None:
        """Name of the prompt that a request asks for. Raises InvalidRequest for an unknown one."""
        if options.prompt is None:
            return options.role or self.default_prompt
        if options.prompt not in self.prompts:
            known = ", ".join(sorted(self.prompts)) or "none"
            raise InvalidRequest(f"The model has no prompt {options.prompt!r}; it has: {known}.", param="prompt_name")
        return options.prompt


_SHORTER = (
    " If it was trained for shorter ones (Matryoshka), `shorter_vectors = true` in its card in models.toml allows them."
)


@dataclass(frozen=True, slots=True)
class VectorSize:
    """The dimensions and the length of a model's vectors."""

    dimensions: Sequence[int]
    """The numbers of dimensions that a request may ask for, the whole vector's last."""
    normalised: bool
    """True if the model's own modules make vectors of length 1."""
    kept: int | None = None
    """The dimensions that a vector is cut to where a request asks for none; None for the whole vector."""
    advice: str = ""
    """How the operator allows other numbers of dimensions; empty where it is known which there are."""

    @classmethod
    def of(cls, checkpoint: Checkpoint, card: ModelCard, whole: int, *, normalised: bool) -> VectorSize:
        """Those of a checkpoint whose modules give ``whole`` dimensions."""
        allowed, kept = dimensions_allowed(checkpoint.config, whole, card), saved_dimensions(checkpoint.folder)
        advice = _SHORTER if allowed == [whole] and "matryoshka_dimensions" not in checkpoint.config else ""
        if kept is None or kept >= whole:
            return cls(allowed, normalised, advice=advice)
        return cls(allowed if kept in allowed else sorted([*allowed, kept]), normalised, kept, advice)

    def check(self, asked: int | None) -> None:
        """Raise InvalidRequest for a number of dimensions that the vectors do not have."""
        allowed = self.dimensions
        if asked is None or asked in allowed:
            return
        shown = f"1 to {allowed[-1]}" if isinstance(allowed, range) else " or ".join(map(str, allowed))
        advice = self.advice if asked < allowed[-1] else ""
        raise InvalidRequest(
            f"dimensions is {asked}; the vectors of this model may have {shown}.{advice}", param="dimensions"
        )


@dataclass(frozen=True, slots=True)
class EncodedApart:
    """Query and document as sequences of their own."""

    query: TokenIds
    document: TokenIds
    known: numpy.ndarray | None = field(default=None, compare=False)
    """The document's vector, where an earlier request had it computed."""

    @property
    def tokens(self) -> int:
        """Tokens of both."""
        return self.query.tokens + self.document.tokens

    @property
    def computed(self) -> int:
        """The same, without a document whose vector is known."""
        return self.tokens if self.known is None else self.query.tokens

    @property
    def cut(self) -> Span | None:
        """See ``EncodedPair.cut``."""
        return self.document.cut


def dimensions_allowed(config: Mapping[str, Any], whole: int, card: ModelCard) -> Sequence[int]:
    """The dimensions that vectors may be cut to, as config.json names them for vLLM, or all as the card says."""
    listed = config.get("matryoshka_dimensions")
    if isinstance(listed, list):
        return [*(shorter for shorter in listed if isinstance(shorter, int) and 0 < shorter < whole), whole]
    return range(1, whole + 1) if card.shorter_vectors or config.get("is_matryoshka") is True else [whole]


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text to embed, and what becomes of its vector."""

    text: TokenIds
    dimensions: int | None
    normalised: bool

    @property
    def tokens(self) -> int:
        """Its tokens."""
        return self.text.tokens

    @property
    def computed(self) -> int:
        """The same: it shares nothing."""
        return self.tokens

    def finish(self, vector: numpy.ndarray) -> Vector:
        """The vector as it is asked for: cut first, then made of length 1."""
        kept = vector[: self.dimensions]
        numbers: Any = numpy.ascontiguousarray(of_length_one(kept) if self.normalised else kept)
        return memoryview(numbers)


class TextEmbedder:
    """Vectors of single texts."""

    def __init__(
        self,
        reading: SentenceReading,
        vectors: SentenceVectors,
        size: VectorSize,
        max_length: int,
        bytes_per_token: int,
    ) -> None:
        self.padded = vectors.padded
        self.bytes_per_token = bytes_per_token
        self._reading = reading
        self._vectors = vectors
        self._size = size
        self._max_length = max_length

    def reading(self, texts: Sequence[str], options: EmbeddingOptions) -> Reading[list[EncodedText]]:
        """See ``Embedder.reading``."""
        self._size.check(options.dimensions)
        limit = pair_limit(options.truncation, self._max_length)
        put = self._reading.put_for(options, texts)
        read = yield from self._reading.tokenizer.texts(put, options.truncation, limit)
        normalised = self._size.normalised if options.normalised is None else options.normalised
        dimensions = options.dimensions or self._size.kept
        return [EncodedText(text, dimensions, normalised) for text in read]

    def start(self, batch: Sequence[EncodedText]) -> Pending[Vector]:
        """See ``Embedder.start``."""
        return read_later(self._vectors([item.text for item in batch]), partial(_finish, batch))


def _finish(batch: Sequence[EncodedText], vectors: numpy.ndarray) -> list[Vector]:
    return [item.finish(vector) for item, vector in zip(batch, vectors, strict=True)]


class BiEncoderScorer(ReadsInParts):
    """Cosine of two sentence embeddings, in -1..1, or their dot product. The maximum length applies to each text."""

    def __init__(
        self,
        reading: SentenceReading,
        vectors: SentenceVectors,
        size: VectorSize,
        max_length: int,
        bytes_per_token: int,
        activation: Activation | None = None,
        *,
        dot: bool = False,
        cache: VectorCache | None = None,
    ) -> None:
        """``dot``: vectors keep their lengths, so that the score is their dot product."""
        self.embedder = TextEmbedder(reading, vectors, size, max_length, bytes_per_token)
        self.max_length = max_length
        self.activation = activation or (IDENTITY if dot else COSINE)
        self.runtime = vectors.description
        self.precision = vectors.precision
        self.padded = vectors.padded
        self.bytes_per_token = bytes_per_token
        self._vectors = vectors
        self._kept = size.kept
        self._dot = dot
        self._reading = reading
        self._cache = cache
        self.takes_instruction = around_task(reading.prompts) is not None
        self.tokenizer = Vocabulary(lambda: reading.tokenizer.tokenizer)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[EncodedApart]]:
        """See ``Scorer.reading``. The model's prompts are prepended, with the instruction where they name a task."""
        truncation = options.truncation
        limit = pair_limit(truncation, self.max_length)
        asked = list(dict.fromkeys(pair.query for pair in pairs))
        tokenizer, put = self._reading.tokenizer, self._reading.instructed(options.instruction).put
        read = yield from tokenizer.queries(put("query", asked), limit, self.max_length)
        queries = dict(zip(asked, read, strict=True))
        (prompt,) = put("document", [""])
        documents = yield from tokenizer.documents(prompt, [pair.document for pair in pairs], truncation, limit)
        known = known_vectors(self._cache, documents, options)
        return [
            EncodedApart(queries[pair.query], document, vector)
            for pair, document, vector in zip(pairs, documents, known, strict=True)
        ]

    def start(self, batch: Sequence[EncodedApart]) -> PendingLogits:
        """See ``Scorer.start``. A text that stands in several pairs is embedded once."""
        unknown = [pair.document for pair in batch if pair.known is None]
        texts = list(dict.fromkeys([*(pair.query for pair in batch), *unknown]))
        kept = self._vectors(texts)[:, : self._kept]
        embeddings = kept if self._dot else of_length_one(kept)
        row = {text: place for place, text in enumerate(texts)}
        queries = embeddings[self._places([row[pair.query] for pair in batch])]
        if len(unknown) == len(batch):
            documents = embeddings[self._places([row[document] for document in unknown])]
        else:
            documents = numpy.stack([embeddings[row[p.document]] if p.known is None else p.known for p in batch])
        if self._cache:
            for document in unknown:
                self._cache.put(document, embeddings[row[document]])
        return pending((queries * documents).sum(-1))

    def _places(self, rows: list[int]) -> Values:
        return placed(numpy.array(rows), self._vectors.device)
