"""Agreement of two embedding models' vectors of the same texts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rerank.core import Vector


@dataclass(frozen=True, slots=True)
class VectorAgreement:
    """Cosines between both sides' vectors of each text."""

    texts: int
    mean: float
    minimum: float
    deviation: float
    """Standard deviation."""


def cosines(model: Sequence[Vector], reference: Sequence[Vector]) -> list[float]:
    """The cosine between both vectors of each text, -1..1. Raises ValueError if there is none."""
    ours, theirs = (np.array(side, dtype=np.float64) for side in (model, reference))
    if ours.shape != theirs.shape:
        raise ValueError(f"vectors of {ours.shape[-1]} and of {theirs.shape[-1]} numbers cannot be compared")
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError("a vector without a direction: all of its numbers are 0, or one is not finite")
    return list(np.clip((ours * theirs).sum(axis=1) / lengths, -1, 1).tolist())


def vector_agreement(found: Sequence[float]) -> VectorAgreement:
    """Mean, minimum and deviation of cosines."""
    return VectorAgreement(len(found), float(np.mean(found)), min(found), float(np.std(found)))
