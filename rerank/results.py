"""Results of scoring: of documents, and how they came about. Frozen."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from rerank.core import Span


class Chunk(NamedTuple):
    """A part of a document that was scored on its own, and its relevance."""

    span: Span
    relevance_score: float


class DocumentScore(NamedTuple):
    """A document's score, by one model or by several together."""

    relevance: float
    """Or the raw logit, if the request asks for that."""
    key: float
    """Documents are sorted by it: the raw logit, or a fused score."""
    tokens: int = 0
    """Tokens the model read for it."""
    truncated: bool | None = False
    """True if part of the document was not read; None if that is not known."""
    stage: int | None = None
    """Stage of the cascade that scored it, from 1; None for other models."""
    best_chunk: Chunk | None = None
    """The chunk that decided, of a document that was read in chunks."""
    chunks: tuple[Chunk, ...] = ()
    """All its chunks, if the request asks for them."""

    @property
    def scored(self) -> bool:
        """False if there was no time for it, or if it was too far down the list."""
        return self.key != -math.inf


NOT_SCORED = DocumentScore(0.0, -math.inf)
"""In place of the score of a document that was not scored."""


@dataclass(frozen=True, slots=True)
class ScoredDocument:
    """A document's place in the request and its score."""

    index: int
    score: DocumentScore

    @property
    def relevance_score(self) -> float:
        """Its relevance, or the raw logit if the request asks for that."""
        return self.score.relevance

    def __repr__(self) -> str:
        return f"ScoredDocument(index={self.index}, relevance_score={self.relevance_score})"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A model that was asked for scores, and what came of it."""

    model: str
    outcome: str
    """``ok``, or the class of the error."""
    seconds: float


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one model did for a request."""

    model: str
    documents: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class ScoringResult:
    """The scores and the ranking of a request, and the model that gave them."""

    scores: tuple[float, ...]
    """In request order: relevance, or raw logits if the request asks for them."""
    ranked: tuple[ScoredDocument, ...]
    """The first documents by falling relevance, as many as the request wants."""
    tokens: int
    """Tokens read for all pairs together."""
    model: str
    """Id of the model that answered."""
    model_reason: str
    """Why this model answered: the request named it, or why it is the default."""
    route: tuple[Attempt, ...] = ()
    """The models that were asked, in order."""
    stages: tuple[StageCost, ...] = ()
    """What each model did that contributed."""
    degraded: bool = False
    """True if another model answered than the first choice, or without one that belongs to it."""
    partial: bool = False
    """True if the time budget did not suffice for every document."""
    calibrated: bool = False
    """True if every model that contributed gave calibrated relevance."""
    cached: int = 0
    """Pairs whose score was in the cache."""
