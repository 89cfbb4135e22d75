"""From raw logits to relevance, and from relevance to a ranking. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rerank.core import Activation, ScoredDocument


def relevance(logit: float, activation: Activation) -> float:
    """A raw logit as the model's relevance, in double precision so that high scores do not tie at 1.0."""
    if activation is Activation.SIGMOID:
        return _sigmoid(logit)
    if activation is Activation.COSINE:
        return min(max((1 + logit) / 2, 0.0), 1.0)
    return logit


def rank(logits: Sequence[float], scores: Sequence[float], top_n: int | None) -> list[ScoredDocument]:
    """Documents by falling logit, equal ones in request order; the first ``top_n``, or all for None and 0.

    Sorted by logit, not by score: far out, two different logits share one sigmoid.
    """
    order = sorted(range(len(logits)), key=lambda index: -logits[index])
    return [ScoredDocument(index, scores[index]) for index in order[: top_n or None]]


def _sigmoid(logit: float) -> float:
    # two branches, because exp of a large positive number overflows
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    grown = math.exp(logit)
    return grown / (1 + grown)
