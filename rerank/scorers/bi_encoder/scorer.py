"""Embedding models as rerankers: query and document are embedded apart, the raw score is their cosine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy
import torch

from rerank.activations import COSINE, Activation
from rerank.core import Pair, PendingLogits, ScoringOptions
from rerank.runtimes.base import TokenIds, pending
from rerank.runtimes.segments import to_device
from rerank.scorers.base import Reading, ReadsInParts, pair_limit
from rerank.scorers.tokens import PairTokenizer, Vocabulary


class SentenceVectors(Protocol):
    """An embedding model on its device."""

    padded: bool
    """True if every sequence of a batch costs as much as the longest."""
    device: str
    precision: str
    """Number format of its matrix products: fp32, bf16, fp16 or int8."""
    description: str
    """Library, precision and kernel, to be displayed."""

    def __call__(self, sequences: Sequence[TokenIds]) -> torch.Tensor:
        """fp32 vectors of shape (sequences, dimensions), not normalised."""
        ...


@dataclass(frozen=True, slots=True)
class SentenceReading:
    """How an embedding model reads texts."""

    tokenizer: PairTokenizer
    prompts: Mapping[str, str | None]
    """The text prepended, by role: ``query`` or ``document``."""


@dataclass(frozen=True, slots=True)
class EncodedApart:
    """Query and document as sequences of their own."""

    query: TokenIds
    document: TokenIds

    @property
    def tokens(self) -> int:
        """Tokens of both."""
        return self.query.tokens + self.document.tokens

    @property
    def computed(self) -> int:
        """The same: it shares nothing."""
        return self.tokens


class BiEncoderScorer(ReadsInParts):
    """Cosine of two sentence embeddings, in -1..1. The maximum length applies to each text."""

    def __init__(
        self,
        reading: SentenceReading,
        vectors: SentenceVectors,
        max_length: int,
        bytes_per_token: int,
        activation: Activation | None = None,
    ) -> None:
        self.max_length = max_length
        self.activation = activation or COSINE
        self.runtime = vectors.description
        self.precision = vectors.precision
        self.padded = vectors.padded
        self.bytes_per_token = bytes_per_token
        self._vectors = vectors
        self._prompts = reading.prompts
        self._tokenizer = reading.tokenizer
        self.tokenizer = Vocabulary(lambda: reading.tokenizer.tokenizer)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[EncodedApart]]:
        """See ``Scorer.reading``. The model's prompts are prepended; the instruction is ignored."""
        truncation = options.truncation
        limit = pair_limit(truncation, self.max_length)
        asked = list(dict.fromkeys(pair.query for pair in pairs))
        read = yield from self._tokenizer.queries(self._put("query", asked), limit, self.max_length)
        queries = dict(zip(asked, read, strict=True))
        texts = self._put("document", [pair.document for pair in pairs])
        documents = yield from self._tokenizer.documents(texts, truncation, limit)
        return [EncodedApart(queries[pair.query], document) for pair, document in zip(pairs, documents, strict=True)]

    @torch.inference_mode()
    def start(self, batch: Sequence[EncodedApart]) -> PendingLogits:
        """See ``Scorer.start``. A text that stands in several pairs is embedded once."""
        texts = list(dict.fromkeys([*(pair.query for pair in batch), *(pair.document for pair in batch)]))
        embeddings = torch.nn.functional.normalize(self._vectors(texts), dim=-1)
        row = {text: place for place, text in enumerate(texts)}
        queries = embeddings[self._places([row[pair.query] for pair in batch])]
        documents = embeddings[self._places([row[pair.document] for pair in batch])]
        return pending((queries * documents).sum(dim=-1))

    def _places(self, rows: list[int]) -> torch.Tensor:
        return to_device(numpy.array(rows), self._vectors.device)

    def _put(self, role: str, texts: Sequence[str]) -> list[str]:
        """The texts, each after the model's prompt for its role."""
        prompt = self._prompts.get(role) or ""
        return [prompt + text for text in texts]
