"""Stable sort by logit, and top-n selection. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rerank.core import ScoredDocument


def rank(logits: Sequence[float], scores: Sequence[float], top_n: int | None) -> list[ScoredDocument]:
    """Documents by falling logit, equal ones in request order; the first ``top_n``, or all for None and 0.

    Sorted by logit, not by score: far out, two different logits share one sigmoid.
    """
    order = sorted(range(len(logits)), key=lambda index: -logits[index])
    return [ScoredDocument(index, scores[index]) for index in order[: top_n or None]]
