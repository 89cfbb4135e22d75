"""Calibrations: maps from a model's relevance to a reference's, or to the probability of relevance. Pure.

No map ever falls, in floating point either, so that documents sorted by raw score are sorted by calibrated relevance.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

Method = Literal["cubic", "isotonic", "beta", "platt"]

MAX_POINTS = 4096
"""Points of an isotonic map."""
_MAX_NUMBER = 1e9
_STEPS = 1024
"""Straight pieces by which a cubic is drawn: it is off by less than 1e-5 where it rises from 0 to 1."""
_EDGE = 1e-12
"""Distance from 0 and from 1 within which logarithms are cut off."""
_GREATEST_EXPONENT = 709.0


@dataclass(frozen=True, slots=True)
class Isotonic:
    """Straight lines through points, constant outside."""

    scores: tuple[float, ...]
    """Rising."""
    relevances: tuple[float, ...]
    """Of each score; never falling, within 0..1."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.scores) <= MAX_POINTS:
            raise ValueError(f"`scores` are 1 to {MAX_POINTS} numbers")
        if len(self.scores) != len(self.relevances):
            raise ValueError("`scores` and `relevances` are equally many")
        _check_numbers(scores=self.scores, relevances=self.relevances)
        if any(later <= earlier for earlier, later in pairwise(self.scores)):
            raise ValueError("`scores` have to rise")
        if any(later < earlier for earlier, later in pairwise(self.relevances)):
            raise ValueError("`relevances` must not fall")
        if self.relevances[0] < 0 or self.relevances[-1] > 1:
            raise ValueError("`relevances` lie between 0 and 1")

    def __call__(self, relevance: float) -> float:
        """The calibrated relevance."""
        scores, relevances = self.scores, self.relevances
        after = bisect_right(scores, relevance)
        if after in (0, len(scores)):
            return relevances[min(after, len(scores) - 1)]
        start, end = scores[after - 1], scores[after]
        low, high = relevances[after - 1], relevances[after]
        # each step of this rises with the relevance; rounding could take the sum above the end
        return min(low + (high - low) * ((relevance - start) / (end - start)), high)


@dataclass(frozen=True, slots=True)
class Cubic:
    """A polynomial of third degree between two scores, constant outside, cut off at 0 and 1."""

    start: float
    end: float
    heights: tuple[float, float, float, float]
    """Its coefficients in Bernstein's basis: values at the ends, and two between them. It rises where they do."""
    _drawn: Isotonic = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_numbers(start=(self.start,), end=(self.end,), heights=self.heights)
        if self.end <= self.start:
            raise ValueError("`end` has to be greater than `start`")
        if any(later < earlier for earlier, later in pairwise(self.heights)):
            raise ValueError("`heights` must not fall")
        object.__setattr__(self, "_drawn", self._draw())

    def __call__(self, relevance: float) -> float:
        """The calibrated relevance."""
        return self._drawn(relevance)

    def _draw(self) -> Isotonic:
        width = self.end - self.start
        points: dict[float, float] = {}
        highest = 0.0
        for step in range(_STEPS + 1):
            highest = max(highest, min(_bernstein(self.heights, step / _STEPS), 1.0))
            # two ends that are close together have fewer numbers between them
            points[self.start + width * (step / _STEPS)] = highest
        return Isotonic(tuple(points), tuple(points.values()))


@dataclass(frozen=True, slots=True)
class Platt:
    """The logistic function of a straight line."""

    slope: float
    offset: float

    def __post_init__(self) -> None:
        _check_numbers(slope=(self.slope,), offset=(self.offset,))
        if self.slope <= 0:
            raise ValueError("`slope` has to be above 0")

    def __call__(self, relevance: float) -> float:
        """The calibrated relevance."""
        return _logistic(self.slope * relevance + self.offset)


@dataclass(frozen=True, slots=True)
class Beta:
    """Beta calibration of a score between 0 and 1 (Kull, Silva Filho, Flach 2017): logistic in ln x and ln(1 - x)."""

    a: float
    b: float
    c: float

    def __post_init__(self) -> None:
        _check_numbers(a=(self.a,), b=(self.b,), c=(self.c,))
        if min(self.a, self.b) < 0 or self.a + self.b == 0:
            raise ValueError("`a` and `b` are at least 0, and one of them is above it")

    def __call__(self, relevance: float) -> float:
        """The calibrated relevance."""
        inside = min(max(relevance, _EDGE), 1 - _EDGE)
        return _logistic(self.a * math.log(inside) - self.b * math.log1p(-inside) + self.c)


Curve = Cubic | Isotonic | Beta | Platt


@dataclass(frozen=True, slots=True)
class Calibration:
    """A map, where it comes from, and which weights it is for."""

    model: str
    """Id of the model that it was fitted for."""
    method: Method
    curve: Curve
    weights: str
    """Fingerprint of the weights whose relevance it maps."""
    reference: str
    """The model whose relevance it gives, or ``labels``: the probability of relevance."""
    data: str
    """Hash of the texts and scores that it was fitted to."""
    date: str
    """Day of the fit, as in 2026-11-26."""

    def __call__(self, relevance: float) -> float:
        """The calibrated relevance, 0..1."""
        return self.curve(relevance)


def _check_numbers(**numbers: Sequence[float]) -> None:
    for name, values in numbers.items():
        if not all(abs(value) <= _MAX_NUMBER for value in values):
            raise ValueError(f"`{name}` has to be between {-_MAX_NUMBER:g} and {_MAX_NUMBER:g}")


def _bernstein(heights: tuple[float, float, float, float], part: float) -> float:
    rest = 1 - part
    first, second, third, last = heights
    return first * rest**3 + 3 * second * rest**2 * part + 3 * third * rest * part**2 + last * part**3


def _logistic(exponent: float) -> float:
    return 1 / (1 + math.exp(min(-exponent, _GREATEST_EXPONENT)))
