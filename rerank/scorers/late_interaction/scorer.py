"""Late interaction: each text gives a vector per token, and each token of the query meets its best in the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy

from rerank.activations import IDENTITY
from rerank.catalog.cards import ModelCard
from rerank.core import Pair, PendingLogits, ScoringOptions, Span
from rerank.runtimes.base import TokenIds, Values, pending, placed
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.scorers.base import Reading, ReadsInParts, pair_limit
from rerank.scorers.labels import activation_of
from rerank.scorers.late_interaction.texts import Query, TextReader
from rerank.scorers.late_interaction.vectors import (
    Stretch,
    TokenProjection,
    best_cosines,
    in_order,
    joined,
    stretches_of,
)
from rerank.scorers.pretrained import activation_bytes, read_config
from rerank.scorers.tokens import Vocabulary
from rerank.scorers.vector_cache import VectorCache, known_vectors

if TYPE_CHECKING:
    from rerank.runtimes.torch_packed import PackedRuntime


@dataclass(frozen=True, slots=True)
class EncodedLate:
    """Query and document as sequences of their own."""

    query: Query
    document: TokenIds
    known: numpy.ndarray | None = field(default=None, compare=False)
    """The document's vectors, of shape (tokens, dimensions), where an earlier request had them computed."""

    @property
    def tokens(self) -> int:
        """Tokens of both."""
        return self.query.ids.tokens + self.document.tokens

    @property
    def computed(self) -> int:
        """The same, without a document whose vectors are known, though a batch computes a query once."""
        return self.tokens if self.known is None else self.query.ids.tokens

    @property
    def cut(self) -> Span | None:
        """See ``EncodedPair.cut``."""
        return self.document.cut


class LateInteractionScorer(ReadsInParts):
    """The sum over a query's tokens of the best cosine with a token of the document: at most the query's tokens.

    The maximum length is a document's: queries have one of their own.
    """

    def __init__(
        self,
        texts: TextReader,
        runtime: RectangleRuntime | PackedRuntime,
        projection: TokenProjection,
        max_length: int,
        card: ModelCard,
        *,
        cache: VectorCache | None = None,
    ) -> None:
        checkpoint = texts.checkpoint
        self.max_length = max_length
        self.activation = activation_of(checkpoint, card, IDENTITY)
        self.runtime = runtime.description
        self.precision = runtime.precision
        self.padded = runtime.padded
        self.bytes_per_token = activation_bytes(read_config(checkpoint))
        self.tokenizer = Vocabulary(lambda: texts.tokenizer)
        self._texts = texts
        self._states = runtime
        self._projection = projection
        self._cache = cache

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[EncodedLate]]:
        """See ``Scorer.reading``. A query is cut to the model's own length for queries; the instruction is ignored."""
        truncation = options.truncation
        limit = pair_limit(truncation, self.max_length)
        asked = list(dict.fromkeys(pair.query for pair in pairs))
        read = yield from self._texts.queries(asked, truncation)
        queries = dict(zip(asked, read, strict=True))
        documents = yield from self._texts.documents([pair.document for pair in pairs], truncation, limit)
        known = known_vectors(self._cache, documents, options)
        return [
            EncodedLate(queries[pair.query], document, vectors)
            for pair, document, vectors in zip(pairs, documents, known, strict=True)
        ]

    def start(self, batch: Sequence[EncodedLate]) -> PendingLogits:
        """See ``Scorer.start``. A text that stands in several pairs is computed once."""
        asked: dict[Query, list[int]] = {}
        for place, pair in enumerate(batch):
            asked.setdefault(pair.query, []).append(place)
        unknown = list(dict.fromkeys(pair.document for pair in batch if pair.known is None))
        vectors, stretches = self._vectors(list(asked), unknown)
        row_of = dict(zip(unknown, stretches[len(asked) :], strict=True))
        self._keep(vectors, row_of)
        known = {pair.document: pair.known for pair in batch if pair.known is not None}
        if known:
            vectors, rows = joined(vectors, list(known.values()))
            row_of |= dict(zip(known, rows, strict=True))
        device = self._states.device
        scores = [
            best_cosines(vectors, stretch, [row_of[batch[place].document] for place in places], device)
            for places, stretch in zip(asked.values(), stretches, strict=False)
        ]
        return pending(in_order(scores, [place for places in asked.values() for place in places], device))

    def _keep(self, vectors: Values, row_of: Mapping[TokenIds, Stretch]) -> None:
        if self._cache:
            for document, row in row_of.items():
                self._cache.put(document, vectors[row.start : row.end])

    def _vectors(self, queries: Sequence[Query], documents: Sequence[TokenIds]) -> tuple[Values, list[Stretch]]:
        """Vectors of all tokens that count, end to end, and where each text's lie."""
        texts = self._texts
        states = self._states([*map(texts.query_segment, queries), *map(texts.segment, documents)])
        counted = [*(numpy.ones(query.ids.tokens, bool) for query in queries), *map(texts.counted, documents)]
        rows = placed(numpy.flatnonzero(numpy.concatenate(counted)), self._states.device)
        return self._projection(states[rows]), stretches_of([int(count.sum()) for count in counted])
