"""Weights of an ensemble's members, chosen on some queries and tested on the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy
from numpy.typing import NDArray

from rerank.agreement import kendall
from rerank.errors import SettingsError
from rerank.evaluation.collection import Collection
from rerank.evaluation.intervals import significance
from rerank.evaluation.measures import Measures
from rerank.evaluation.scoring import Scored

_FOLDS = 5
_STEPS = {2: 20, 3: 12, 4: 8}
"""Parts into which the whole weight is divided, by number of members: 21, 91 and 165 ways."""
_DRAWN = 200
"""Weights that are tried of more members."""
CHANCE = 0.05

Weights = tuple[float, ...]
Objective = Callable[[Weights], Sequence[float]]
"""The value of an ensemble with these weights for each query, the same queries each time."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """The best weights, and what they are worth on queries that they were not chosen by."""

    weights: Weights
    """Of all queries; their sum is 1."""
    value: float
    equal: float
    """The value of equal weights."""
    alone: tuple[float, ...]
    """That of each member alone."""
    p: float
    """How often chance alone gives a difference between tuned and equal weights as large."""
    queries: int

    @property
    def worth_it(self) -> bool:
        """False if equal weights are as good."""
        return self.value > self.equal and self.p < CHANCE


def by_measure(members: Sequence[Scored], collection: Collection, measure: str) -> Objective:
    """A measure of the fused rankings against the collection's grades. Raises UnknownMeasure."""
    judged = {query: collection.grades[query] for query in collection.candidates if collection.grades.get(query)}
    measures = Measures([measure], judged)
    scores = {query: _matrix(members, query) for query in judged}

    def values(weights: Weights) -> Sequence[float]:
        rankings = {
            query: [collection.candidates[query][place] for place in numpy.argsort(-(each @ weights), kind="stable")]
            for query, each in scores.items()
        }
        return measures.values(rankings)[measures.names[0]]

    return values


def by_agreement(members: Sequence[Scored], reference: Scored) -> Objective:
    """Kendall's tau of fused scores with the reference's, of the queries for which that tells documents apart."""
    theirs = {query: ranked.relevance for query, ranked in reference.ranked.items()}
    told_apart = [query for query, scores in theirs.items() if len(set(scores)) > 1]
    scores = {query: _matrix(members, query) for query in told_apart}

    def values(weights: Weights) -> Sequence[float]:
        return [kendall((scores[query] @ weights).tolist(), theirs[query]) or 0.0 for query in told_apart]

    return values


def tune(objective: Objective, members: int, seed: int = 0, progress: Callable[[int], None] = lambda _: None) -> Tuned:
    """The best weights of this number of members. Raises SettingsError for less than two queries.

    Of equally good ones those that are the most equal. ``progress`` is told of each try.
    """
    tried = candidates(members, seed)
    rows = []
    for weights in tried:
        rows.append(objective(weights))
        progress(1)
    values = numpy.array(rows)
    queries = values.shape[1]
    if queries < 2:
        raise SettingsError(f"weights are chosen on some queries and tested on others: {queries} are too few")
    held_out = _held_out(values, seed)
    alone = [tuple(float(place == member) for place in range(members)) for member in range(members)]
    return Tuned(
        tried[int(values.mean(axis=1).argmax())],
        float(held_out.mean()),
        float(values[0].mean()),
        tuple(float(values[tried.index(weights)].mean()) for weights in alone),
        significance(held_out.tolist(), values[0].tolist(), seed),
        queries,
    )


def candidates(members: int, seed: int = 0) -> list[Weights]:
    """Weights to try, the most equal first: each of sum 1, and of each member alone."""
    equal = (1 / members,) * members
    found = {equal, *_lattice(members, _STEPS.get(members, 1))}
    if members not in _STEPS:
        drawn = numpy.random.default_rng(seed).dirichlet([1.0] * members, _DRAWN)
        found.update(tuple(map(float, weights)) for weights in drawn)
    return sorted(found, key=lambda weights: (round(math.dist(weights, equal), 9), weights))


def _lattice(members: int, steps: int) -> Iterator[Weights]:
    """All ways to give ``steps`` equal parts of the weight to the members."""
    for bars in combinations(range(steps + members - 1), members - 1):
        yield tuple((right - left - 1) / steps for left, right in pairwise((-1, *bars, steps + members - 1)))


def _held_out(values: NDArray[numpy.float64], seed: int) -> NDArray[numpy.float64]:
    """Each query's value under the weights that are the best on the folds without it."""
    queries = values.shape[1]
    shuffled = numpy.random.default_rng(seed).permutation(queries)
    found = numpy.empty(queries)
    for fold in numpy.array_split(shuffled, min(_FOLDS, queries)):
        others = numpy.setdiff1d(shuffled, fold)
        found[fold] = values[values[:, others].mean(axis=1).argmax(), fold]
    return found


def _matrix(members: Sequence[Scored], query: str) -> NDArray[numpy.float64]:
    """A row per document, a column per member."""
    return numpy.array([member.ranked[query].relevance for member in members], numpy.float64).T
