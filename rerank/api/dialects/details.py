"""Details of a result that an answer adds to its index and score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NotRequired
from urllib.parse import quote

from typing_extensions import TypedDict

from rerank.results import Chunk, ScoredDocument, ScoringResult

_SAFE = "/:@+=,;!$&'()*[] "
"""Characters that a model's name keeps in a header, in addition to letters, digits and ``_.-~``."""


class ChunkSpan(TypedDict):
    """A part of a document, in characters of the text as it was sent."""

    start: int
    end: int


class ChunkScore(ChunkSpan):
    """The same, with its relevance."""

    relevance_score: float


class RareDetails(TypedDict):
    """Details of results that are not ordinary; absent from others."""

    stage: NotRequired[int]
    """Stage of the cascade that scored it, from 1."""
    scored: NotRequired[bool]
    """false: there was no time to score it, or it was too far down the list."""
    best_chunk: NotRequired[ChunkSpan]
    """The chunk that decided, of a document that was read in chunks."""
    chunks: NotRequired[list[ChunkScore]]


class Details(RareDetails):
    """Details of every result."""

    tokens: int
    """Tokens the model read for it."""
    truncated: NotRequired[bool]
    """true: part of the document was not read. Absent if the server that has the model does not say."""


def rare_details(document: ScoredDocument) -> RareDetails:
    """What an ordinary result does not have."""
    score, details = document.score, RareDetails()
    if score.stage is not None:
        details["stage"] = score.stage
    if not score.scored:
        details["scored"] = False
    if score.best_chunk:
        details["best_chunk"] = ChunkSpan(start=score.best_chunk.span.start, end=score.best_chunk.span.end)
    if score.chunks:
        details["chunks"] = [_chunk(chunk) for chunk in score.chunks]
    return details


def details(document: ScoredDocument) -> Details:
    """Everything about a result but its index and score."""
    score = document.score
    found = Details(tokens=score.tokens)
    if score.truncated is not None:
        found["truncated"] = score.truncated
    return {**found, **rare_details(document)}


def _chunk(chunk: Chunk) -> ChunkScore:
    return ChunkScore(start=chunk.span.start, end=chunk.span.end, relevance_score=chunk.relevance_score)


def headers(result: ScoringResult) -> Mapping[str, str]:
    """The truth about an answer, for dialects whose bodies have no place for it."""
    return {
        # a header holds ASCII only, and a model may be a folder of any name
        "X-Rerank-Model": quote(result.model, safe=_SAFE),
        "X-Rerank-Degraded": str(result.degraded).lower(),
        "X-Rerank-Partial": str(result.partial).lower(),
        "X-Rerank-Cached": str(result.cached),
    }
