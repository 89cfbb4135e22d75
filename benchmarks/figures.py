"""From latencies to the figures of a table. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy


@dataclass(frozen=True, slots=True)
class Sample:
    """One round of requests: how long all of them took together, and each of them."""

    seconds: float
    latencies: tuple[float, ...]
    """Seconds of each request."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What a table shows of a contestant. Of several rounds: the median of the rounds, figure by figure."""

    pairs_per_second: float
    p50: float
    """Milliseconds, as the other two."""
    p95: float
    p99: float


def figures(rounds: Sequence[Sample], documents: int) -> Figures:
    """Figures of rounds of requests of ``documents`` documents each."""
    percentiles = [numpy.percentile(sample.latencies, (50, 95, 99)) * 1000 for sample in rounds]
    p50, p95, p99 = (float(value) for value in numpy.median(percentiles, axis=0))
    rates = [len(sample.latencies) * documents / sample.seconds for sample in rounds]
    return Figures(statistics.median(rates), p50, p95, p99)


def ratios(values: Sequence[float | None]) -> list[float | None]:
    """Each value to the first that is there."""
    base = next((value for value in values if value is not None), None)
    return [None if value is None or base is None else value / base for value in values]
