"""Layers of a cascade: documents ordered by the last stage that scored them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rerank.results import NOT_SCORED, DocumentScore

Layer = Mapping[int, DocumentScore]
"""Scores that one stage gave, by the document's place in the request."""


def merged(places: Sequence[int], layers: Sequence[Layer]) -> list[DocumentScore]:
    """A score for each document: the last stage's first, then below them those of each earlier stage, in its order.

    Relevance of an earlier stage is mapped below the lowest of the later one; its order stays. Documents that no stage
    scored come last, in the order given.
    """
    found = dict.fromkeys(places, NOT_SCORED)
    left, key, floor = set(places), float(len(places)), math.inf
    for number, layer in reversed([*enumerate(layers, 1)]):
        order = _ordered([place for place in places if place in left and place in layer], layer)
        left.difference_update(order)
        for place in order:
            found[place] = _below(layer[place], floor)._replace(key=key, stage=number)
            key -= 1
        floor = min([floor, *(found[place].relevance for place in order)])
    return [found[place] for place in places]


def best(places: Sequence[int], layer: Layer, keep: int) -> list[int]:
    """The places of the ``keep`` highest documents, the best first."""
    return _ordered(places, layer)[:keep]


def _ordered(places: Sequence[int], layer: Layer) -> list[int]:
    return sorted((place for place in places if layer[place].scored), key=lambda place: -layer[place].key)


def _below(score: DocumentScore, floor: float) -> DocumentScore:
    """The score with its relevance mapped below a floor, monotonically; not below 0 unless the floor is."""
    if floor == math.inf:
        return score
    relevance = score.relevance
    part = (1 + relevance / (1 + abs(relevance))) / 2
    mapped = floor * part if floor >= 0 else floor - 1 + part
    return score._replace(relevance=mapped)
