"""Chunks of long documents: who reads them so, and documents' scores from those of their chunks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from rerank.activations import ToRelevance
from rerank.catalog.cards import ModelCard
from rerank.core import Chunking, Pair, RawScore, Span, any_truncated
from rerank.results import NOT_SCORED, Chunk, DocumentScore

_CHUNKING = Chunking(most=32)
"""How long documents are read in chunks where the request does not say."""
_WHOLE = Chunking(most=1)


@dataclass(frozen=True, slots=True)
class ChunkRules:
    """Which long documents are read in chunks, and in how many."""

    always: bool = False
    """True: in chunks where neither the request nor the model's card says anything."""
    most: int = 5000
    """Maximum chunks of all documents of a request together."""

    def chunking(self, card: ModelCard, asked: Chunking | None, documents: int) -> Chunking | None:
        """How a model reads the long ones among a number of documents; None cuts them."""
        if asked is None:
            in_chunks = card.long_documents == "chunk" if card.long_documents else self.always
            asked = _CHUNKING if in_chunks else _WHOLE
        most = min(asked.most, self.most // max(documents, 1))
        return replace(asked, most=most) if most > 1 else None


def chunk_pairs(pairs: Sequence[Pair], spans: Sequence[Sequence[Span]]) -> list[Pair]:
    """A pair for each chunk, those of a document next to one another."""
    return [
        Pair(pair.query, pair.document[span.start : span.end])
        for pair, chunks in zip(pairs, spans, strict=True)
        for span in chunks
    ]


def documents_of(spans: Sequence[Sequence[Span]]) -> list[int]:
    """For each of the ``chunk_pairs`` the index of its document."""
    return [index for index, chunks in enumerate(spans) for _ in chunks]


def chunked_scores(
    spans: Sequence[Sequence[Span]], raw: Sequence[RawScore], activation: ToRelevance, chunking: Chunking
) -> list[DocumentScore]:
    """A score for each document, from those of its chunks, which stand in the order of ``chunk_pairs``."""
    scores = iter(raw)
    documents = [_Document([_Scored(span, next(scores)) for span in chunks]) for chunks in spans]
    return [_document_score(document, activation, chunking) for document in documents]


class _Scored(NamedTuple):
    """A chunk and its raw score."""

    span: Span
    raw: RawScore

    def shown(self, activation: ToRelevance) -> Chunk:
        """The chunk with its relevance."""
        return Chunk(self.span, activation(self.raw.logit))


class _Document(NamedTuple):
    """The chunks of a document, in order."""

    chunks: list[_Scored]

    @property
    def scored(self) -> list[_Scored]:
        """The chunks that there was time for."""
        return [chunk for chunk in self.chunks if chunk.raw.scored]

    @property
    def truncated(self) -> bool | None:
        """See ``DocumentScore.truncated``."""
        return self._has_gaps or any_truncated(not chunk.raw.scored or chunk.raw.truncated for chunk in self.chunks)

    @property
    def _has_gaps(self) -> bool:
        return any(later.span.start > earlier.span.end for earlier, later in pairwise(self.chunks))


def _document_score(document: _Document, activation: ToRelevance, chunking: Chunking) -> DocumentScore:
    """A document counts as scored if a chunk of it is; for ``first``, if its first chunk is."""
    scored = document.scored
    if not scored or (chunking.aggregate == "first" and not document.chunks[0].raw.scored):
        return NOT_SCORED
    key = _aggregate([chunk.raw.logit for chunk in scored], chunking)
    tokens = sum(chunk.raw.tokens for chunk in scored)
    score = DocumentScore(activation(key), key, tokens, document.truncated)
    if len(document.chunks) == 1:
        return score
    # of equal chunks the first
    best = max(scored, key=lambda chunk: chunk.raw.logit)
    listed: Iterator[_Scored] = iter(scored if chunking.listed else ())
    return score._replace(best_chunk=best.shown(activation), chunks=tuple(chunk.shown(activation) for chunk in listed))


def _aggregate(logits: Sequence[float], chunking: Chunking) -> float:
    match chunking.aggregate:
        case "max":
            return max(logits)
        case "mean":
            # no sum, which could be infinite
            return sum(logit / len(logits) for logit in logits)
        case "first":
            return logits[0]
