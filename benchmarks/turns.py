"""Contestants on one model that take turns, round by round: seconds, logits, and the rate of matrix products."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.floor import DTYPES, floor_seconds, products_rate
from benchmarks.workload import Score, other_pairs
from rerank.core import Pair

Contestants = Callable[[str], Iterable[tuple[str, AbstractContextManager[Score]]]]
"""Name and opener of each contestant, by precision."""


@dataclass(frozen=True, slots=True)
class Turns:
    """What the rounds gave, by contestant, and for the rates by precision."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    logits: dict[str, list[float]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        """Seconds of a contestant."""
        return statistics.median(self.seconds[name])

    def rate(self, precision: str) -> float:
        """Operations a second in products of the model's own shape."""
        return statistics.median(self.rates[precision])

    def floors(self, folder: Path, precision: str, tokens: Iterable[int]) -> list[float]:
        """Seconds of the products for each of these numbers of tokens."""
        return [floor_seconds(folder, number, self.rate(precision)) for number in tokens]

    def lines(self) -> Iterator[tuple[str, str]]:
        """Each contestant's name, and its seconds and logits against the first one's."""
        base = next(iter(self.seconds))
        for name in self.seconds:
            spent, share = self.median(name), self.median(name) / self.median(base)
            apart = max(abs(one - other) for one, other in zip(self.logits[name], self.logits[base], strict=True))
            yield name, f"{name:<26} {spent:8.2f} s   x {share:.3f}   logits within {apart:.1e} of {base}'s"


def take_turns(
    folder: Path, precisions: Sequence[str], contestants: Contestants, pairs: Sequence[Pair], rounds: int
) -> Turns:
    """Open, run and close each contestant once a round, with the rate of products measured just before."""
    turns = Turns()
    for _ in range(rounds):
        for precision in precisions:
            if precision in DTYPES:
                turns.rates.setdefault(precision, []).append(products_rate(folder, DTYPES[precision]))
            for name, opened in contestants(precision):
                with opened as run:
                    turns.logits[name], spent = timed(run, pairs)
                turns.seconds.setdefault(name, []).append(spent)
    return turns


def timed(run: Score, pairs: Sequence[Pair]) -> tuple[list[float], float]:
    """What a run gives and the seconds it takes, after one that warms up with other texts of the same length."""
    run(other_pairs(pairs, 1))
    started = time.perf_counter()
    return run(pairs), time.perf_counter() - started
