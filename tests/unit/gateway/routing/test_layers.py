from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.gateway.ranking import rank
from rerank.gateway.routing.layers import Layer, best, merged
from rerank.results import NOT_SCORED, DocumentScore

RELEVANCE = st.floats(-5, 5) | st.floats(0, 1)


def layer(**relevances: float) -> dict[int, DocumentScore]:
    return {int(place.removeprefix("d")): DocumentScore(value, value) for place, value in relevances.items()}


def order(found: list[DocumentScore]) -> list[int]:
    return [document.index for document in rank(found, None)]


def test_the_last_stage_comes_first_and_the_rest_follows_in_the_order_of_the_earlier() -> None:
    found = merged([0, 1, 2, 3], [layer(d0=0.1, d1=0.9, d2=0.8, d3=0.7), layer(d1=0.2, d2=0.6)])
    assert order(found) == [2, 1, 3, 0]
    assert [score.stage for score in found] == [1, 2, 2, 1]
    assert [score.key for score in found] == [1, 3, 4, 2]
    assert found[2].relevance == 0.6
    assert found[1].relevance == 0.2
    assert 0 < found[0].relevance < found[3].relevance < 0.2


def test_a_document_the_last_stage_had_no_time_for_keeps_the_earlier_score() -> None:
    found = merged([0, 1], [layer(d0=0.4, d1=0.9), {0: NOT_SCORED, 1: NOT_SCORED}])
    assert [(score.relevance, score.stage) for score in found] == [(0.4, 1), (0.9, 1)]


def test_documents_that_no_stage_scored_come_last_as_they_came() -> None:
    found = merged([0, 1, 2], [{0: NOT_SCORED, 1: DocumentScore(0.5, 0.0), 2: NOT_SCORED}])
    assert order(found) == [1, 0, 2]
    assert [score.scored for score in found] == [False, True, False]


@pytest.mark.parametrize(
    ("relevance", "floor", "mapped"),
    [(1.0, 0.8, 0.6), (0.0, 0.8, 0.4), (-1.0, 0.8, 0.2), (1.0, 0.0, 0.0), (0.0, -2.0, -2.5)],
)
def test_relevance_of_an_earlier_stage_is_mapped_below_the_lowest_of_the_later(
    relevance: float, floor: float, mapped: float
) -> None:
    found = merged([0, 1], [layer(d0=relevance, d1=9.0), layer(d1=floor)])
    assert [score.relevance for score in found] == [pytest.approx(mapped), floor]


def test_below_a_lowest_relevance_of_0_all_is_sorted_too() -> None:
    first = layer(d0=0.1, d1=0.9, d2=0.5) | {3: NOT_SCORED}
    ranked = rank(merged([0, 1, 2, 3], [first, layer(d1=0.0)]), None)
    assert [document.index for document in ranked] == [1, 2, 0, 3]
    assert [document.relevance_score for document in ranked] == [0.0] * 4


def test_the_best_are_kept_in_order() -> None:
    scores = layer(d0=0.1, d1=0.9, d2=0.9, d3=0.3) | {4: NOT_SCORED}
    assert best([0, 1, 2, 3, 4], scores, 3) == [1, 2, 3]
    assert best([0, 1, 2, 3, 4], scores, 9) == [1, 2, 3, 0]


@st.composite
def cascades(draw: st.DrawFn) -> tuple[list[int], list[Layer]]:
    """Stages of which each scores some of what the one before scored."""
    places = list(range(draw(st.integers(1, 15))))
    layers, left = [], places
    for _ in range(draw(st.integers(1, 3))):
        scored = {place: draw(RELEVANCE) for place in left}
        found: Layer = {
            place: DocumentScore(value, value) if draw(st.integers(0, 9)) else NOT_SCORED
            for place, value in scored.items()
        }
        layers.append(found)
        left = best(left, found, draw(st.integers(1, 15)))
    return places, layers


@given(cascades())
def test_every_document_appears_once_and_order_within_a_stage_is_kept(cascade: tuple[list[int], list[Layer]]) -> None:
    places, layers = cascade
    found = merged(places, layers)
    assert len(found) == len(places)
    ranked = rank(found, None)
    assert sorted(document.index for document in ranked) == places
    for higher, lower in pairwise(ranked):
        if not lower.score.scored:
            continue
        assert higher.score.relevance >= lower.score.relevance
        assert (higher.score.stage or 0) >= (lower.score.stage or 0)
        if higher.score.stage == lower.score.stage:
            scores = layers[(higher.score.stage or 1) - 1]
            assert scores[higher.index].key >= scores[lower.index].key


@given(cascades())
def test_clients_that_sort_by_relevance_find_the_same_order(cascade: tuple[list[int], list[Layer]]) -> None:
    ranked = rank(merged(*cascade), None)
    scored = [document for document in ranked if document.score.scored]
    assert sorted(scored, key=lambda document: -document.relevance_score) == scored


@pytest.mark.parametrize("keep", [1, 2])
def test_a_single_stage_is_its_own_ranking(keep: int) -> None:
    scores = layer(d0=0.1, d1=0.9, d2=0.5)
    assert [(score.relevance, score.stage) for score in merged([0, 1, 2], [scores])] == [(0.1, 1), (0.9, 1), (0.5, 1)]
    assert best([0, 1, 2], scores, keep) == [1, 2][:keep]
