"""Fusion of several models' scores of the same documents. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rerank.catalog.routes import Fusion
from rerank.core import any_truncated
from rerank.gateway.ranking import rank
from rerank.results import NOT_SCORED, DocumentScore

_RRF_K = 60
"""Rank added to each rank (Cormack, Clarke, Buettcher: Reciprocal Rank Fusion, SIGIR 2009)."""

Scores = Sequence[DocumentScore]


def fuse(rankings: Sequence[Scores], fusion: Fusion, weights: Sequence[float] = ()) -> list[DocumentScore]:
    """One score per document from those of every model.

    ``rrf``: the sum of 1 / (60 + rank), as a share of what first place everywhere gives. ``mean`` and ``weighted``: of
    relevance. A document that a model did not score gets nothing from it.
    """
    relevances = _FUSIONS[fusion](rankings, weights or [1.0] * len(rankings))
    return [_fused(scores, relevance) for *scores, relevance in zip(*rankings, relevances, strict=True)]


def _fused(scores: Scores, relevance: float) -> DocumentScore:
    scored = [score for score in scores if score.scored]
    if not scored:
        return NOT_SCORED
    return DocumentScore(
        relevance,
        relevance,
        tokens=sum(score.tokens for score in scored),
        truncated=any_truncated(score.truncated for score in scored),
        best_chunk=next((score.best_chunk for score in scored if score.best_chunk), None),
        chunks=next((score.chunks for score in scored if score.chunks), ()),
    )


def _by_rank(rankings: Sequence[Scores], weights: Sequence[float]) -> list[float]:
    del weights
    sums = [0.0] * len(rankings[0])
    for scores in rankings:
        for place, document in enumerate(rank(scores, None), 1):
            sums[document.index] += 1 / (_RRF_K + place) if document.score.scored else 0
    highest = len(rankings) / (_RRF_K + 1)
    return [total / highest for total in sums]


def _by_relevance(rankings: Sequence[Scores], weights: Sequence[float]) -> list[float]:
    shares = _shares(weights)
    # no sum of relevance, which could be infinite
    return [
        sum(share * score.relevance for share, score in zip(shares, scores, strict=True))
        for scores in zip(*rankings, strict=True)
    ]


def _shares(weights: Sequence[float]) -> list[float]:
    """Equal ones if only models are left that count for nothing."""
    whole = sum(weights)
    return [weight / whole if whole else 1 / len(weights) for weight in weights]


_FUSIONS: dict[Fusion, Callable[[Sequence[Scores], Sequence[float]], list[float]]] = {
    "rrf": _by_rank,
    "mean": _by_relevance,
    "weighted": _by_relevance,
}
