"""Outcome of an evaluation: measures of the first stage and of every model. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from rerank.evaluation.collection import Collection
from rerank.evaluation.intervals import Interval, interval_of, significance
from rerank.evaluation.measures import Measures, Values
from rerank.evaluation.scoring import Scored

FIRST_STAGE = "first stage"
_DEPTHS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)

Rankings = Mapping[str, tuple[str, ...]]
"""By query: documents, the best first."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The mean of a measure over the queries, and its interval."""

    mean: float
    interval: Interval | None
    """None for a single query."""
    p: float | None
    """Of the difference to the first model; None for that model."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Difference that normalised texts make to the mean of a measure, and its p."""

    difference: float
    p: float


@dataclass(frozen=True, slots=True)
class Row:
    """The first stage or a model, with its measures."""

    name: str
    rankings: Rankings
    values: Values
    figures: Mapping[str, Figure]
    scored: Scored | None = None
    """None for the first stage."""
    effects: Mapping[str, Effect] | None = None
    """By measure; None where normalised texts were not scored."""

    @property
    def pairs_per_second(self) -> float | None:
        """Of a model that took a measurable time."""
        return self.scored.pairs / self.scored.seconds if self.scored and self.scored.seconds else None


@dataclass(frozen=True, slots=True)
class Gains:
    """What models add to the first stage, by how many of its candidates they rerank."""

    measure: str
    depths: tuple[int, ...]
    rows: tuple[tuple[float, ...], ...]
    """Of each model."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An evaluation of models."""

    collection: Collection
    measures: Measures
    first_stage: Row
    models: tuple[Row, ...]

    @classmethod
    def of(
        cls,
        collection: Collection,
        scored: Sequence[Scored],
        measures: Measures,
        seed: int,
        unified: Sequence[Scored] | None = None,
    ) -> Self:
        """The measures of what was scored. Differences are tested against the first model.

        ``unified``: what each model made of the queries with texts that normalising changes.
        """
        reference: Values | None = None
        rows = []
        others: Sequence[Scored | None] = unified or [None] * len(scored)
        for model, other in zip(scored, others, strict=True):
            rankings = reranked(collection.candidates, model)
            values = measures.values(rankings)
            effects = None
            if other:
                normal = reranked(collection.candidates, Scored(model.model, {**model.ranked, **other.ranked}))
                effects = _effects(measures.values(normal), values, seed)
            rows.append(Row(model.model, rankings, values, _figures(values, reference, seed), model, effects))
            reference = reference or values
        first = measures.values(collection.candidates)
        stage = Row(FIRST_STAGE, collection.candidates, first, _figures(first, reference, seed))
        return cls(collection, measures, stage, tuple(rows))

    @property
    def rows(self) -> tuple[Row, ...]:
        """The first stage and the models."""
        return (self.first_stage, *self.models)

    @property
    def depth(self) -> int:
        """Candidates of the query with the most."""
        return max(map(len, self.collection.candidates.values()))

    def gains(self, measure: str) -> Gains:
        """Gains in a measure, from the full rankings."""
        depths = (*(depth for depth in _DEPTHS if depth < self.depth), self.depth)
        return Gains(
            measure, depths, tuple(self._gains(row.scored, measure, depths) for row in self.models if row.scored)
        )

    def _gains(self, scored: Scored, measure: str, depths: Sequence[int]) -> tuple[float, ...]:
        base = self.first_stage.figures[measure].mean
        rankings = (reranked(self.collection.candidates, scored, depth) for depth in depths)
        return tuple(statistics.fmean(self.measures.values(ranking)[measure]) - base for ranking in rankings)


def reranked(candidates: Rankings, scored: Scored, depth: int | None = None) -> Rankings:
    """The candidates as the model ranks them; those beyond the depth follow in the order of the first stage."""
    return {query: _reranked(ids, scored.ranked[query].order, depth or len(ids)) for query, ids in candidates.items()}


def _reranked(candidates: tuple[str, ...], order: Sequence[int], depth: int) -> tuple[str, ...]:
    return (*(candidates[place] for place in order if place < depth), *candidates[depth:])


def _figures(values: Values, reference: Values | None, seed: int) -> dict[str, Figure]:
    return {
        name: Figure(
            statistics.fmean(found),
            interval_of(found, seed),
            None if reference is None else significance(found, reference[name], seed),
        )
        for name, found in values.items()
    }


def _effects(normal: Values, values: Values, seed: int) -> dict[str, Effect]:
    return {
        name: Effect(statistics.fmean(found) - statistics.fmean(values[name]), significance(found, values[name], seed))
        for name, found in normal.items()
    }
