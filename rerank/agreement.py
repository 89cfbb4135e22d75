"""Agreement of two lists of scores of the same documents. Pure, and quick to import: the server uses it, too.

Where a measure is undefined it is None, never NaN.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from statistics import correlation

Scores = Sequence[float]


def pearson(ours: Scores, theirs: Scores) -> float | None:
    """Pearson's correlation, -1..1; None if a side gives every document the same score."""
    if (x := _in_unit(ours)) is None or (y := _in_unit(theirs)) is None:
        return None
    return min(max(correlation(x, y), -1.0), 1.0)


def _in_unit(scores: Scores) -> list[float] | None:
    """Shifted and scaled to 0..1, so that squares neither overflow nor vanish; None for equal scores."""
    low, high = min(scores, default=0.0), max(scores, default=0.0)
    if not 0 < high - low < math.inf:
        return None
    return [(score - low) / (high - low) for score in scores]


def kendall(ours: Scores, theirs: Scores) -> float | None:
    """Kendall's tau-b, -1..1, which accounts for ties; None if a side gives every document the same score.

    Counts inversions (Knight 1966), as scipy's does, which takes seconds to import.
    """
    both = sorted(zip(ours, theirs, strict=True))
    pairs = math.comb(len(both), 2)
    untied_x, untied_y = pairs - _ties(ours), pairs - _ties(theirs)
    if not untied_x or not untied_y:
        return None
    concordant_minus_discordant = untied_x + untied_y - pairs + _ties(both) - 2 * _inversions(y for _, y in both)
    return min(max(concordant_minus_discordant / math.sqrt(untied_x) / math.sqrt(untied_y), -1.0), 1.0)


def _ties(values: Iterable[Hashable]) -> int:
    """Pairs of equal values."""
    return sum(math.comb(times, 2) for times in Counter(values).values())


def _inversions(values: Iterable[float]) -> int:
    """Pairs whose first value is the larger one."""
    found, before = 0, list[float]()
    for value in values:
        found += len(before) - bisect_right(before, value)
        insort(before, value)
    return found


def top_overlap(ours: Scores, theirs: Scores, depth: int) -> float | None:
    """Share of the first ``depth`` documents that both sides have; None if there are no others to choose from.

    Equal scores rank in the order given, as the server ranks them.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} scores on one side, {len(theirs)} on the other")
    if len(ours) <= depth:
        return None
    return len(_top(ours, depth) & _top(theirs, depth)) / depth


def _top(scores: Scores, depth: int) -> set[int]:
    return set(sorted(range(len(scores)), key=lambda index: -scores[index])[:depth])
