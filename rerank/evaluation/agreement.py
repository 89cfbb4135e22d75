"""Agreement of two models on the same documents: per query and as a whole. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from scipy.stats import rankdata

from rerank.agreement import Scores, kendall, pearson, top_overlap

Ordered = Literal["both", "model", "reference", "neither", "one document"]
"""Which side tells the documents of a query apart; for "one document" there is nothing to order."""
ByQuery = Mapping[str, Scores]

LEVELS = ((0.9, "very high"), (0.7, "high"), (0.5, "moderate"), (0.3, "low"))
"""Lowest consistency of each level (Mukaka: A guide to appropriate use of correlation coefficient, 2012)."""
NO_AGREEMENT = "no"


@dataclass(frozen=True, slots=True)
class Measures:
    """How far two sides agree. None where a measure is undefined."""

    consistency: float | None
    """The mean of score correlation (``pearson``) and rank similarity (``spearman``)."""
    pearson: float | None
    spearman: float | None
    kendall: float | None
    """Tau-b, which accounts for ties."""
    top_1: float | None
    """The same document first: the share of queries."""
    top_3: float | None
    """Share of the first three documents that both sides have; only of queries with more than three."""
    top_10: float | None
    mean_difference: float
    """Of scores, absolute."""
    largest_difference: float


@dataclass(frozen=True, slots=True)
class QueryAgreement:
    """How far both sides agree on one query's documents."""

    query: str
    documents: int
    ordered: Ordered
    measures: Measures
    farthest: int
    """Place of the document whose scores differ most."""

    @property
    def counted(self) -> float:
        """Its consistency. 0 if only one side tells the documents apart, 1 if neither does."""
        if self.measures.consistency is not None:
            return self.measures.consistency
        return 0.0 if self.ordered in ("model", "reference") else 1.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far both sides agree on all queries."""

    pairs: int
    measures: Measures
    """``pearson`` and the differences over all pairs together, the others as means over queries.

    A query whose documents only one side tells apart counts as 0 where its measure is undefined; one whose documents
    neither side tells apart, or that has one document, does not count.
    """
    mean_pearson: float | None
    """Over queries."""
    queries: tuple[QueryAgreement, ...]

    @property
    def level(self) -> str:
        """The consistency in words; "undefined" without one."""
        if (consistency := self.measures.consistency) is None:
            return "undefined"
        return next((level for lowest, level in LEVELS if consistency >= lowest), NO_AGREEMENT)

    def worst(self, number: int) -> list[QueryAgreement]:
        """Queries with the least consistency first; of equal ones those with the largest difference."""
        return sorted(self.queries, key=lambda query: (query.counted, -query.measures.largest_difference))[:number]


def agreement_of(model: ByQuery, reference: ByQuery) -> Agreement:
    """Compare two models' scores of the same documents. Raises ValueError for scores that cannot be compared."""
    if not model or model.keys() != reference.keys():
        raise ValueError("both sides have to score the same queries, at least one")
    queries = tuple(_of_query(query, model[query], reference[query]) for query in model)
    ours, theirs = ([score for query in model for score in side[query]] for side in (model, reference))
    correlation, similarity = pearson(ours, theirs), _mean(queries, "spearman")
    counted = 0.0 if correlation is None and _ordered(ours, theirs) in ("model", "reference") else correlation
    differences = _differences(ours, theirs)
    measures = Measures(
        consistency=_middle(counted, similarity),
        pearson=correlation,
        spearman=similarity,
        kendall=_mean(queries, "kendall"),
        top_1=_mean(queries, "top_1"),
        top_3=_mean(queries, "top_3"),
        top_10=_mean(queries, "top_10"),
        mean_difference=fmean(differences),
        largest_difference=max(differences),
    )
    return Agreement(len(ours), measures, _mean(queries, "pearson"), queries)


def _of_query(query: str, ours: Scores, theirs: Scores) -> QueryAgreement:
    _check(query, ours, theirs)
    ordered, differences = _ordered(ours, theirs), _differences(ours, theirs)
    correlation = pearson(ours, theirs)
    similarity = pearson(rankdata(ours).tolist(), rankdata(theirs).tolist())
    measures = Measures(
        consistency=_middle(correlation, similarity),
        pearson=correlation,
        spearman=similarity,
        kendall=kendall(ours, theirs),
        top_1=top_overlap(ours, theirs, 1),
        top_3=top_overlap(ours, theirs, 3),
        top_10=top_overlap(ours, theirs, 10),
        mean_difference=fmean(differences),
        largest_difference=max(differences),
    )
    return QueryAgreement(query, len(ours), ordered, measures, differences.index(max(differences)))


def _check(query: str, ours: Scores, theirs: Scores) -> None:
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"query {query}: {len(ours)} scores on one side, {len(theirs)} on the other")
    for side, scores in (("model", ours), ("reference", theirs)):
        for place, score in enumerate(scores):
            if not math.isfinite(score):
                raise ValueError(f"query {query}: the {side}'s score of document {place} is {score}")


def _ordered(ours: Scores, theirs: Scores) -> Ordered:
    if len(ours) == 1:
        return "one document"
    model, reference = len(set(ours)) > 1, len(set(theirs)) > 1
    if model == reference:
        return "both" if model else "neither"
    return "model" if model else "reference"


def _differences(ours: Scores, theirs: Scores) -> list[float]:
    return [abs(one - other) for one, other in zip(ours, theirs, strict=True)]


def _middle(correlation: float | None, similarity: float | None) -> float | None:
    return None if correlation is None or similarity is None else (correlation + similarity) / 2


def _mean(queries: Sequence[QueryAgreement], name: str) -> float | None:
    values = [_counted(query, name) for query in queries]
    defined = [value for value in values if value is not None]
    return fmean(defined) if defined else None


def _counted(query: QueryAgreement, name: str) -> float | None:
    value: float | None = getattr(query.measures, name)
    if value is None and query.ordered in ("model", "reference") and not name.startswith("top"):
        return 0.0
    return value
