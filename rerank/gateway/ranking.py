"""Stable sort of documents, threshold and top-n selection. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rerank.results import NOT_SCORED, DocumentScore, ScoredDocument


def rank(scores: Sequence[DocumentScore], top_n: int | None, min_score: float | None = None) -> list[ScoredDocument]:
    """Documents by falling key, equal ones in request order; the first ``top_n``, or all for None and 0.

    Sorted by key, not by relevance: far out, two different logits share one sigmoid. Documents with less relevance than
    ``min_score`` are left out first.
    """
    order = sorted(range(len(scores)), key=lambda index: -scores[index].key)
    if min_score is not None:
        order = [index for index in order if scores[index].relevance >= min_score]
    return [ScoredDocument(index, scores[index]) for index in order[: top_n or None]]


def with_floor(logits: Sequence[DocumentScore]) -> list[DocumentScore]:
    """Raw logits in which no document that was not scored stands above one that was: at most 0, or the lowest."""
    floor = min([0.0, *(score.relevance for score in logits if score.scored)])
    unscored = NOT_SCORED._replace(relevance=floor)
    return [score if score.scored else unscored for score in logits]
