"""Queries that a model ranks worst, with their documents before and after. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rerank.evaluation.outcome import Outcome, Row

_QUERIES = 10
_DOCUMENTS = 5
_EXCERPT = 240
"""Characters."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A document in a ranking, and its place before."""

    place: int
    before: int
    id: str
    grade: int | None
    """None where it is not judged."""
    excerpt: str


@dataclass(frozen=True, slots=True)
class Worst:
    """A query with a measure before and after, and the best documents of both rankings."""

    id: str
    query: str
    value_before: float
    value_after: float
    before: tuple[Shown, ...]
    after: tuple[Shown, ...]


def worst_queries(outcome: Outcome, row: Row, measure: str) -> list[Worst]:
    """Those that lose most by the model, and among equal ones those with the lowest value."""
    pairs = zip(outcome.collection.candidates, outcome.first_stage.values[measure], row.values[measure], strict=True)
    ordered = sorted(pairs, key=lambda pair: (pair[2] - pair[1], pair[2]))
    return [_worst(outcome, row, *pair) for pair in ordered[:_QUERIES]]


def _worst(outcome: Outcome, row: Row, query: str, before: float, after: float) -> Worst:
    first = outcome.first_stage.rankings[query]
    places = {document: place for place, document in enumerate(first, start=1)}
    grades, texts = outcome.collection.grades[query], outcome.collection.documents
    return Worst(
        query,
        outcome.collection.queries[query],
        before,
        after,
        _shown(first, places, grades, texts),
        _shown(row.rankings[query], places, grades, texts),
    )


def _shown(
    ranking: Sequence[str], places: Mapping[str, int], grades: Mapping[str, int], texts: Mapping[str, str]
) -> tuple[Shown, ...]:
    """The best documents, and the best relevant one, if it is none of them."""
    numbered = list(enumerate(ranking, start=1))
    relevant = [entry for entry in numbered[_DOCUMENTS:] if grades.get(entry[1], 0) > 0]
    return tuple(
        Shown(place, places[document], document, grades.get(document), _excerpt(texts[document]))
        for place, document in (*numbered[:_DOCUMENTS], *relevant[:1])
    )


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."
