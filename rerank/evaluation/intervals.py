"""Bootstrap intervals of means over queries, and paired significance of their difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy

from rerank.evaluation.needs import needed

_RESAMPLES = 2000
_EXCHANGES = 9999
_AT_ONCE = 1_000_000
"""Values of resamples that are in memory at the same time."""
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """Bounds of a mean."""

    low: float
    high: float


def interval_of(values: Sequence[float], seed: int = 0) -> Interval | None:
    """The interval that holds the mean over all such queries 95 times in 100; None for less than two queries.

    The bootstrap, bias-corrected and accelerated, over queries.
    """
    if len(values) < 2:
        return None
    # nothing to resample; the correction would divide by zero
    if min(values) == max(values):
        return Interval(values[0], values[0])
    found = needed("scipy.stats").bootstrap(
        (values,),
        numpy.mean,
        n_resamples=_RESAMPLES,
        batch=_batch(len(values)),
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=numpy.random.default_rng(seed),
    )
    return Interval(float(found.confidence_interval.low), float(found.confidence_interval.high))


def significance(values: Sequence[float], reference: Sequence[float], seed: int = 0) -> float:
    """p of a two-sided paired randomisation test: how often chance alone gives a mean difference as large.

    By chance each query's two values are exchanged, or not.
    """
    difference = numpy.subtract(values, reference)
    # no exchange changes anything
    if not difference.any():
        return 1.0
    chance = numpy.random.default_rng(seed)
    found = needed("scipy.stats").monte_carlo_test(
        difference,
        lambda size: chance.choice((-1, 1), size) * difference,
        numpy.mean,
        vectorized=True,
        n_resamples=_EXCHANGES,
        batch=_batch(len(values)),
    )
    return float(found.pvalue)


def _batch(queries: int) -> int:
    return max(1, _AT_ONCE // queries)
