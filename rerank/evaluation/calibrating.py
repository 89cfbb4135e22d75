"""Calibrations fitted to a reference's scores or to judgements, chosen by their error on queries that were left out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy

from rerank.agreement import pearson
from rerank.calibration import Curve, Method
from rerank.errors import SettingsError
from rerank.evaluation.collection import Collection
from rerank.evaluation.fits import FITS, Numbers
from rerank.evaluation.intervals import significance
from rerank.evaluation.scoring import Scored

_FOLDS = 5
_BINS = 15
MINIMUM_CORRELATION = 0.2
"""Of calibrated scores with their targets: heads with random weights stay below 0.1, models that agree reach 0.9."""
_CHANCE = 0.05


class NoAgreement(Exception):
    """No rising curve maps the scores to the targets better than a constant would; the message says so."""


@dataclass(frozen=True)
class Samples:
    """Scores of one model and what they are to become, query by query."""

    scores: Mapping[str, Sequence[float]]
    targets: Mapping[str, Sequence[float]]
    """Of the same documents, in the same order, within 0..1."""

    @cached_property
    def flat(self) -> tuple[Numbers, Numbers]:
        """Scores and targets of all queries."""
        return _flat(self.scores.values()), _flat(self.targets[query] for query in self.scores)

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return len(self.flat[0])

    def of(self, queries: Sequence[str]) -> Samples:
        """Those of some queries."""
        return Samples({query: self.scores[query] for query in queries}, self.targets)

    def folds(self, seed: int) -> list[list[str]]:
        """Queries divided at random into five parts, or into as many as there are queries."""
        shuffled = numpy.random.default_rng(seed).permutation(list(self.scores))
        return [list(map(str, part)) for part in numpy.array_split(shuffled, min(_FOLDS, len(shuffled)))]

    def digest(self, collection: Collection) -> str:
        """A hash of the texts and of the targets."""
        targets = repr([tuple(self.targets[query]) for query in self.scores])
        return hashlib.blake2b(f"{collection.digest()} {targets}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Errors:
    """How far scores are from their targets."""

    pearson: float | None
    """Correlation; None where all scores are alike."""
    mean: float
    """Mean absolute difference."""
    calibration: float
    """Expected calibration error: the mean difference of means in 15 bins of the score."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A curve, and what it is worth on queries that it was not fitted to."""

    method: Method
    curve: Curve
    before: Errors
    after: Errors
    tried: Mapping[Method, float]
    """Root mean squared error of each method."""
    constant: float
    """That of the targets' mean."""


def to_reference(scored: Scored, reference: Scored) -> Samples:
    """A model's scores and the reference's. Raises SettingsError if those are no relevance."""
    targets = {query: reference.ranked[query].relevance for query in scored.ranked}
    beyond = [score for scores in targets.values() for score in scores if not 0 <= score <= 1]
    if beyond:
        raise SettingsError(
            f"{reference.model} gives {beyond[0]:g}: only scores from 0 to 1 are relevance that others can be mapped to"
        )
    return Samples({query: ranked.relevance for query, ranked in scored.ranked.items()}, targets)


def to_labels(scored: Scored, collection: Collection) -> Samples:
    """A model's scores and whether each document is relevant; unjudged ones of judged queries are not."""
    judged = [query for query in scored.ranked if collection.grades.get(query)]
    return Samples(
        {query: scored.ranked[query].relevance for query in judged},
        {
            query: [float(collection.grades[query].get(document, 0) > 0) for document in collection.candidates[query]]
            for query in judged
        },
    )


def calibrate(samples: Samples, method: Method | None = None, seed: int = 0) -> Fitted:
    """The curve of the method, or of the one with the least error on queries left out. Raises NoAgreement."""
    if len(samples.scores) < 2:
        raise NoAgreement("at least two queries are needed: one is left out of the fit to test it")
    held = _held_out(samples, [method] if method else list(FITS), seed)
    if not held.predicted:
        raise NoAgreement("no curve that rises fits: higher scores go with equal or lower targets")
    squared = {name: held.squared(predicted) for name, predicted in held.predicted.items()}
    best = min(squared, key=lambda name: squared[name].sum())
    after = errors_of(held.predicted[best], held.targets)
    constant = held.squared(held.constant)
    _check_agreement(after, held.by_query(squared[best]), held.by_query(constant), seed)
    curve = FITS[best](*samples.flat)
    if curve is None:
        raise NoAgreement("no curve that rises fits the whole of the data")
    return Fitted(
        best,
        curve,
        errors_of(samples.flat[0], samples.flat[1]),
        after,
        {name: _root_mean(errors) for name, errors in squared.items()},
        _root_mean(constant),
    )


def errors_of(scores: Numbers, targets: Numbers) -> Errors:
    """How far scores are from their targets."""
    bins = numpy.clip((scores * _BINS).astype(int), 0, _BINS - 1)
    off = numpy.bincount(bins, scores - targets, _BINS)
    return Errors(
        pearson(scores.tolist(), targets.tolist()),
        float(numpy.abs(scores - targets).mean()),
        float(numpy.abs(off).sum() / len(scores)),
    )


@dataclass(frozen=True)
class _HeldOut:
    """What curves give for queries that they were not fitted to, fold after fold."""

    targets: Numbers
    lengths: Sequence[int]
    """Pairs of each query."""
    constant: Numbers
    predicted: Mapping[Method, Numbers]

    def squared(self, predicted: Numbers) -> Numbers:
        """The squared error of each pair."""
        return numpy.square(predicted - self.targets)

    def by_query(self, squared: Numbers) -> list[float]:
        """The mean of each query."""
        starts = numpy.cumsum([0, *self.lengths[:-1]])
        return list(map(float, numpy.add.reduceat(squared, starts) / self.lengths))


def _held_out(samples: Samples, methods: Sequence[Method], seed: int) -> _HeldOut:
    folds = samples.folds(seed)
    rest = [samples.of([query for other in folds if other is not fold for query in other]) for fold in folds]
    left = [samples.of(fold) for fold in folds]
    predicted: dict[Method, Numbers] = {}
    for method in methods:
        curves = [FITS[method](*part.flat) for part in rest]
        if all(curves):
            predicted[method] = _flat(
                map(curve, part.flat[0].tolist()) for curve, part in zip(curves, left, strict=True) if curve
            )
    return _HeldOut(
        _flat(part.flat[1] for part in left),
        [len(samples.scores[query]) for fold in folds for query in fold],
        _flat([part.flat[1].mean()] * other.pairs for part, other in zip(rest, left, strict=True)),
        predicted,
    )


def _check_agreement(after: Errors, errors: Sequence[float], constant: Sequence[float], seed: int) -> None:
    correlation = after.pearson or 0.0
    if correlation < MINIMUM_CORRELATION:
        raise NoAgreement(
            f"on queries left out, calibrated scores and their targets correlate by {correlation:.3f} only: there is "
            "no common ground to fit"
        )
    better = numpy.mean(errors) < numpy.mean(constant)
    if not better or significance(errors, constant, seed) >= _CHANCE:
        raise NoAgreement("on queries left out, no curve is better than the mean of the targets would be")


def _flat(parts: Iterable[Iterable[float]]) -> Numbers:
    return numpy.fromiter(chain.from_iterable(parts), numpy.float64)


def _root_mean(squared: Numbers) -> float:
    return float(numpy.sqrt(squared.mean()))
