from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from rerank.agreement import kendall, pearson, top_overlap

LIST = st.lists(st.integers(-20, 20).map(float), min_size=2, max_size=40)
TWO_LISTS = LIST.flatmap(
    lambda xs: st.tuples(st.just(xs), st.lists(st.integers(-5, 5).map(float), min_size=len(xs), max_size=len(xs)))
)
"""With many ties."""
FINITE = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20)


class TestPearson:
    def test_is_the_correlation_worked_out_by_hand(self) -> None:
        # deviations -1, 0, 1 and -1, 1, 0: 1 / sqrt(2 * 2)
        assert pearson([1, 2, 3], [1, 3, 2]) == pytest.approx(0.5)

    @pytest.mark.parametrize("same", [[0.1, 0.1, 0.1], [0.0, 0.0, 0.0], [1e308, 1e308, 1e308]])
    def test_is_undefined_where_a_side_scores_all_documents_the_same(self, same: list[float]) -> None:
        assert pearson(same, [1, 2, 3]) is None
        assert pearson([1, 2, 3], same) is None

    @pytest.mark.parametrize("scores", [[], [0.5]])
    def test_is_undefined_for_fewer_than_two_documents(self, scores: list[float]) -> None:
        assert pearson(scores, scores) is None

    @pytest.mark.parametrize("unit", [1e-300, 1.0, 1e300])
    def test_scores_near_the_limits_of_floats_correlate_as_others_do(self, unit: float) -> None:
        assert pearson([unit, 2 * unit, 3 * unit], [1, 3, 2]) == pytest.approx(0.5)

    def test_small_differences_of_large_scores_count(self) -> None:
        assert pearson([1e9 + 1, 1e9 + 2, 1e9 + 3], [1, 3, 2]) == pytest.approx(0.5)

    def test_lists_of_different_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match="same number"):
            pearson([1, 2, 3], [1, 2])

    @given(FINITE, st.data())
    def test_is_a_number_from_minus_one_to_one_or_undefined(self, ours: list[float], data: st.DataObject) -> None:
        size = len(ours)
        theirs = data.draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=size, max_size=size))
        found = pearson(ours, theirs)
        assert found is None or -1 <= found <= 1


class TestKendall:
    def test_is_the_share_of_pairs_in_the_same_order_less_those_in_the_other(self) -> None:
        # of three pairs two are in the same order
        assert kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)

    def test_tied_pairs_are_left_out_on_the_side_that_ties_them(self) -> None:
        # pairs: tied on one side, concordant, concordant; 2 / sqrt(2 * 3)
        assert kendall([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(6))

    @pytest.mark.parametrize("same", [[], [0.5], [0.5, 0.5]])
    def test_is_undefined_where_a_side_tells_no_documents_apart(self, same: list[float]) -> None:
        assert kendall(same, [*range(len(same))]) is None

    def test_lists_of_different_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            kendall([1, 2, 3], [1, 2])

    @given(TWO_LISTS)
    def test_equals_kendalltau_of_scipy(self, both: tuple[list[float], list[float]]) -> None:
        ours, theirs = both
        assume(len(set(ours)) > 1 and len(set(theirs)) > 1)
        assert kendall(ours, theirs) == pytest.approx(stats.kendalltau(ours, theirs).statistic)


class TestTopOverlap:
    def test_is_the_share_of_the_first_documents_that_both_sides_have(self) -> None:
        ours, theirs = [0.9, 0.8, 0.7, 0.1], [0.8, 0.9, 0.1, 0.7]
        assert [top_overlap(ours, theirs, depth) for depth in (1, 2, 3)] == [0, 1, pytest.approx(2 / 3)]

    def test_documents_of_equal_score_rank_in_the_order_given(self) -> None:
        assert top_overlap([0.5, 0.5, 0.5], [0.9, 0.1, 0.1], 1) == 1
        assert top_overlap([0.5, 0.5, 0.5], [0.1, 0.1, 0.9], 1) == 0

    @pytest.mark.parametrize("depth", [2, 3])
    def test_is_undefined_where_all_documents_are_among_the_first(self, depth: int) -> None:
        assert top_overlap([0.9, 0.1], [0.1, 0.9], depth) is None

    def test_lists_of_different_lengths_are_refused(self) -> None:
        with pytest.raises(ValueError, match="3 scores on one side, 2 on the other"):
            top_overlap([1, 2, 3], [1, 2], 1)


@given(TWO_LISTS)
def test_agreement_is_the_same_from_either_side(both: tuple[list[float], list[float]]) -> None:
    ours, theirs = both
    assert pearson(ours, theirs) == pytest.approx(pearson(theirs, ours))
    assert kendall(ours, theirs) == pytest.approx(kendall(theirs, ours))
    assert top_overlap(ours, theirs, 3) == top_overlap(theirs, ours, 3)


@given(LIST)
def test_scores_agree_fully_with_themselves(scores: list[float]) -> None:
    assume(len(set(scores)) > 1)
    assert pearson(scores, scores) == pytest.approx(1)
    assert kendall(scores, scores) == pytest.approx(1)
    assert top_overlap(scores, scores, 1) == 1


@given(TWO_LISTS)
def test_a_rising_map_of_one_side_changes_no_rank_measure(both: tuple[list[float], list[float]]) -> None:
    ours, theirs = both
    mapped = [math.exp(score / 10) for score in theirs]
    assert kendall(ours, mapped) == kendall(ours, theirs)
    assert top_overlap(ours, mapped, 3) == top_overlap(ours, theirs, 3)
