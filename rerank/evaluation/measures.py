"""Measures of rankings by ir-measures, which computes them as trec_eval does; values per query."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rerank.errors import SettingsError
from rerank.evaluation.needs import needed

DEFAULT = ("nDCG@10", "RR@10", "AP", "R@10")
_EXAMPLES = "nDCG@10, RR@10, AP, R@100, P@5, Success@1, AP(rel=2)"
_BOUND = 1_000_000
"""Of cutoffs and grades. trec_eval ends the process at some numbers outside of it."""
_NOT_RELEVANT = -1
"""Lowest grade that trec_eval takes: below it, it writes outside of its memory."""
_TRIED_GRADES, _TRIED_RUN = {"1": {"a": 1, "b": 0}}, {"1": {"a": 2.0, "b": 1.0}}
"""What a measure is tried with."""

Values = Mapping[str, tuple[float, ...]]
"""By measure: a value per query, in the order of the queries."""


class UnknownMeasure(SettingsError):
    """The name is none of ir-measures', or the measure needs a package that is not installed."""


class Measures:
    """Measures by name, and the grades that they are computed with."""

    def __init__(self, names: Sequence[str], grades: Mapping[str, Mapping[str, int]]) -> None:
        """Raises UnknownMeasure."""
        # gdeval takes only numbers for queries
        self._numbers = {query: str(number) for number, query in enumerate(grades)}
        self._measures = {str(measure): measure for measure in map(_parsed, names)}
        self._evaluator = _evaluator(
            self._measures.values(), {self._numbers[query]: _within(judged) for query, judged in grades.items()}
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the measures, as ir-measures writes them."""
        return tuple(self._measures)

    def values(self, rankings: Mapping[str, Sequence[str]]) -> Values:
        """The values of rankings, which are document ids, the best first.

        A query without a ranking has the value of an empty one.
        """
        # places, not scores: trec_eval would order equal scores by the documents' ids
        run = {
            self._numbers[query]: {document: float(len(ranking) - place) for place, document in enumerate(ranking)}
            for query, ranking in rankings.items()
        }
        found = {(str(value.measure), value.query_id): float(value.value) for value in self._evaluator.iter_calc(run)}
        return {name: tuple(found[name, number] for number in self._numbers.values()) for name in self._measures}


def _parsed(name: str) -> Any:
    library = needed("ir_measures")
    try:
        measure = library.parse_measure(name)
        _check_bounds(measure)
        # only in use some turn out to be without a package or a parameter
        list(_evaluator([measure], _TRIED_GRADES).iter_calc(_TRIED_RUN))
    # each of its providers has errors of its own
    except Exception as error:
        known = ", ".join(sorted(library.measures.registry, key=str.lower))
        raise UnknownMeasure(
            f"{name!r} is not a measure ({_reason(error)}). Measures are {_EXAMPLES}, "
            f"and others of ir-measures: {known}"
        ) from error
    return measure


def _reason(error: Exception) -> str:
    return re.sub(r"invalid param (\w+)=<object.*", r"\1 is missing", next(iter(str(error).splitlines()), "")).rstrip(
        ".:"
    )


def _check_bounds(measure: Any) -> None:
    for parameter in ("cutoff", "rel"):
        value = measure.params.get(parameter, 1)
        if not 0 < value <= _BOUND:
            raise ValueError(f"{parameter} is {value}, and may be from 1 to {_BOUND}")


def _within(judged: Mapping[str, int]) -> dict[str, int]:
    """Grades that trec_eval can compute with."""
    return {document: max(grade, _NOT_RELEVANT) for document, grade in judged.items()}


def _evaluator(measures: Iterable[Any], grades: Mapping[str, Mapping[str, int]]) -> Any:
    return needed("ir_measures").evaluator(measures, grades)
