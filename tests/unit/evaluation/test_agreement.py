from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rerank.evaluation.agreement import Agreement, agreement_of

SCORES = st.integers(-20, 20).map(lambda step: step / 20)


@st.composite
def two_sides(draw: st.DrawFn) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Scores with many ties; queries with one document, too."""
    sizes = draw(st.lists(st.integers(1, 15), min_size=1, max_size=5))
    model, reference = (
        {f"q{place}": draw(st.lists(SCORES, min_size=size, max_size=size)) for place, size in enumerate(sizes)}
        for _ in range(2)
    )
    return model, reference


def of(ours: list[float], theirs: list[float]) -> Agreement:
    return agreement_of({"q": ours}, {"q": theirs})


class TestByHand:
    OURS, THEIRS = (0.9, 0.6, 0.3, 0.0), (0.8, 0.2, 0.4, 0.1)
    """Ranks 1 2 3 4 and 1 3 2 4."""

    def test_measures_of_one_query(self) -> None:
        measures = of([*self.OURS], [*self.THEIRS]).queries[0].measures
        # deviations .45 .15 -.15 -.45 and .425 -.175 .025 -.275
        assert measures.pearson == pytest.approx(0.285 / math.sqrt(0.45 * 0.2875))
        # 1 - 6 * (1 + 1) / (4 * 15)
        assert measures.spearman == pytest.approx(0.8)
        # five pairs of six in the same order
        assert measures.kendall == pytest.approx(4 / 6)
        assert (measures.top_1, measures.top_3, measures.top_10) == (1, 1, None)
        assert measures.mean_difference == pytest.approx((0.1 + 0.4 + 0.1 + 0.1) / 4)
        assert measures.largest_difference == pytest.approx(0.4)
        assert measures.consistency == pytest.approx((0.285 / math.sqrt(0.45 * 0.2875) + 0.8) / 2)

    def test_farthest_is_the_document_whose_scores_differ_most(self) -> None:
        assert of([*self.OURS], [*self.THEIRS]).queries[0].farthest == 1

    def test_measures_of_several_queries(self) -> None:
        found = agreement_of({"a": [1, 2, 3], "b": [4, 5]}, {"a": [1, 3, 2], "b": [5, 4]})
        measures = found.measures
        assert found.pairs == 5
        # of all pairs: deviations -2 -1 0 1 2 and -2 0 -1 2 1
        assert measures.pearson == pytest.approx((4 + 0 + 0 + 2 + 2) / 10)
        assert found.mean_pearson == pytest.approx((0.5 - 1) / 2)
        assert measures.spearman == pytest.approx((0.5 - 1) / 2)
        assert measures.kendall == pytest.approx((1 / 3 - 1) / 2)
        assert measures.consistency == pytest.approx((0.8 - 0.25) / 2)
        assert measures.top_1 == 0
        assert measures.mean_difference == pytest.approx(4 / 5)
        assert measures.largest_difference == 1

    def test_overlaps_of_several_queries_are_means_of_those_with_enough_documents(self) -> None:
        rising = [float(place) for place in range(12)]
        swapped = [rising[place] for place in (2, 1, 0, 3, 4, 5, 6, 7, 8, 9, 10, 11)]
        found = agreement_of(
            {"a": rising, "b": [1, 2, 3, 4], "c": [1, 2]}, {"a": swapped, "b": [4, 3, 2, 1], "c": [1, 2]}
        )
        assert [query.documents for query in found.queries] == [12, 4, 2]
        # of a the first ten are documents 2 to 11 on one side, and 0, 1 and 3 to 11 less one on the other
        assert [query.measures.top_10 for query in found.queries] == [pytest.approx(0.9), None, None]
        assert found.measures.top_10 == pytest.approx(0.9)
        assert found.measures.top_3 == pytest.approx((1 + 2 / 3) / 2)
        assert found.measures.top_1 == pytest.approx(2 / 3)

    def test_rank_similarity_of_six_documents(self) -> None:
        # ranks 1 2 3 4 5 6 and 1 2 5 6 3 4: 1 - 6 * 16 / 210
        assert of([6, 5, 4, 3, 2, 1], [6, 5, 2, 1, 4, 3]).measures.spearman == pytest.approx(0.5429, abs=1e-4)

    def test_ranks_of_ties_are_their_mean(self) -> None:
        # ranks 1 2.5 2.5 and 1 2 3: 1.5 / sqrt(1.5 * 2)
        assert of([3, 2, 2], [3, 2, 1]).measures.spearman == pytest.approx(1.5 / math.sqrt(3))


class TestUndefined:
    def test_queries_of_one_document_have_no_rank_measures(self) -> None:
        found = agreement_of({"a": [0.9], "b": [0.2], "c": [0.4]}, {"a": [0.8], "b": [0.2], "c": [0.4]})
        assert found.measures.pearson == pytest.approx(0.9987, abs=1e-4)
        assert found.measures.spearman is found.measures.kendall is found.measures.top_1 is None
        assert found.measures.consistency is found.mean_pearson is None
        assert found.level == "undefined"
        assert found.measures.largest_difference == pytest.approx(0.1)
        assert {query.ordered for query in found.queries} == {"one document"}

    def test_a_model_that_scores_everything_the_same_agrees_with_none(self) -> None:
        found = agreement_of({"a": [0.5, 0.5], "b": [0.5, 0.5]}, {"a": [0.1, 0.2], "b": [0.7, 0.3]})
        assert found.measures.pearson is None
        assert (found.measures.spearman, found.measures.kendall, found.measures.consistency) == (0, 0, 0)
        assert found.level == "no"
        assert {query.ordered for query in found.queries} == {"reference"}
        assert {query.measures.spearman for query in found.queries} == {None}

    def test_a_query_that_only_one_side_orders_counts_as_zero(self) -> None:
        found = agreement_of({"a": [0.1, 0.9], "b": [0.1, 0.9]}, {"a": [0.1, 0.9], "b": [0.4, 0.4]})
        assert (found.measures.spearman, found.measures.kendall, found.mean_pearson) == (0.5, 0.5, 0.5)
        assert [query.ordered for query in found.queries] == ["both", "model"]

    def test_a_query_that_neither_side_orders_does_not_count(self) -> None:
        found = agreement_of({"a": [0.1, 0.9], "b": [0.3, 0.3]}, {"a": [0.1, 0.9], "b": [0.4, 0.4]})
        assert (found.measures.spearman, found.measures.kendall, found.mean_pearson) == (1, 1, 1)
        assert found.queries[1].ordered == "neither"

    def test_measures_are_undefined_where_neither_side_orders_anything(self) -> None:
        found = of([0.5, 0.5], [0.5, 0.5])
        assert found.measures.pearson is found.measures.spearman is found.measures.consistency is None
        assert (found.measures.top_1, found.measures.largest_difference) == (1, 0)

    def test_overlap_of_all_documents_is_undefined(self) -> None:
        measures = of([0.1, 0.2, 0.3], [0.3, 0.2, 0.1]).measures
        assert (measures.top_1, measures.top_3, measures.top_10) == (0, None, None)


class TestRefused:
    @pytest.mark.parametrize(
        ("model", "reference", "message"),
        [
            ({}, {}, "^both sides have to score the same queries, at least one$"),
            ({"a": [0.1]}, {"b": [0.1]}, "the same queries"),
            ({"a": [0.1, 0.2]}, {"a": [0.1]}, "query a: 2 scores on one side, 1 on the other"),
            ({"a": []}, {"a": []}, "query a: 0 scores"),
            ({"a": [0.1, math.nan]}, {"a": [0.1, 0.2]}, "query a: the model's score of document 1 is nan"),
            ({"a": [0.1, 0.2]}, {"a": [-math.inf, 0.2]}, "query a: the reference's score of document 0 is -inf"),
        ],
    )
    def test_scores_that_cannot_be_compared_are_refused(
        self, model: dict[str, list[float]], reference: dict[str, list[float]], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            agreement_of(model, reference)


class TestWorst:
    def test_the_worst_query_has_the_least_consistency(self) -> None:
        good, bad, worse = [0.1, 0.5, 0.9], [0.5, 0.1, 0.9], [0.9, 0.5, 0.1]
        found = agreement_of({"a": good, "b": good, "c": good}, {"a": good, "b": worse, "c": bad})
        assert [query.query for query in found.worst(2)] == ["b", "c"]

    def test_of_queries_that_agree_alike_the_largest_difference_is_the_worst(self) -> None:
        found = agreement_of({"a": [0.1, 0.2], "b": [0.1, 0.2]}, {"a": [0.1, 0.2], "b": [0.3, 0.4]})
        assert [query.query for query in found.worst(2)] == ["b", "a"]

    def test_among_the_worst_a_query_that_only_one_side_orders_counts_as_zero(self) -> None:
        found = agreement_of(
            {"a": [0.1, 0.2], "b": [0.5, 0.5], "c": [0.5, 0.5]}, {"a": [0.2, 0.1], "b": [0.1, 0.2], "c": [0.5, 0.5]}
        )
        assert [query.query for query in found.worst(3)] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("noise", "level"), [(0.0, "very high"), (0.25, "high"), (0.45, "moderate"), (0.8, "low"), (5.0, "no")]
)
def test_the_level_of_agreement_falls_with_noise(noise: float, level: str) -> None:
    chance = np.random.default_rng(7)
    model = {f"q{place}": chance.random(50).tolist() for place in range(20)}
    reference = {
        query: (np.array(scores) + noise * chance.standard_normal(50)).tolist() for query, scores in model.items()
    }
    assert agreement_of(model, reference).level == level


def test_a_random_head_as_reference_is_no_agreement() -> None:
    """A reference whose classifier was never trained: the body's vectors mean something, the head does not."""
    chance = np.random.default_rng(11)
    body = {f"q{place}": chance.standard_normal((30, 64)) for place in range(40)}
    trained, untrained = chance.standard_normal((2, 64))
    model = {query: (1 / (1 + np.exp(-vectors @ trained))).tolist() for query, vectors in body.items()}
    reference = {query: (1 / (1 + np.exp(-vectors @ untrained))).tolist() for query, vectors in body.items()}
    found = agreement_of(model, reference)
    assert found.level == "no"
    assert found.measures.consistency is not None
    assert abs(found.measures.consistency) < 0.3


@settings(max_examples=40)
@given(two_sides())
def test_rank_similarity_equals_spearmans_in_scipy(
    sides: tuple[dict[str, list[float]], dict[str, list[float]]],
) -> None:
    for query in agreement_of(*sides).queries:
        if query.ordered == "both":
            expected = stats.spearmanr(sides[0][query.query], sides[1][query.query]).statistic
            assert query.measures.spearman == pytest.approx(expected)
        else:
            assert query.measures.spearman is None


@settings(max_examples=40)
@given(two_sides())
def test_agreement_is_symmetric(sides: tuple[dict[str, list[float]], dict[str, list[float]]]) -> None:
    model, reference = sides
    one, other = agreement_of(model, reference), agreement_of(reference, model)
    assert one.measures.consistency == pytest.approx(other.measures.consistency)
    assert one.measures.spearman == pytest.approx(other.measures.spearman)
    assert one.measures.kendall == pytest.approx(other.measures.kendall)
    assert one.measures.top_3 == other.measures.top_3
    assert one.measures.mean_difference == other.measures.mean_difference


@settings(max_examples=40)
@given(two_sides())
def test_a_model_agrees_fully_with_itself(sides: tuple[dict[str, list[float]], dict[str, list[float]]]) -> None:
    model, _ = sides
    found = agreement_of(model, model)
    measures = found.measures
    assert (measures.mean_difference, measures.largest_difference) == (0, 0)
    for value in (measures.consistency, measures.pearson, measures.spearman, measures.kendall, found.mean_pearson):
        assert value is None or value == pytest.approx(1)
    assert {measures.top_1, measures.top_3, measures.top_10} <= {None, 1}
    assert (measures.spearman is None) == all(len(set(scores)) == 1 for scores in model.values())


@settings(max_examples=40)
@given(two_sides())
def test_rank_measures_do_not_change_with_a_monotone_map(
    sides: tuple[dict[str, list[float]], dict[str, list[float]]],
) -> None:
    model, reference = sides
    mapped = {query: [math.exp(4 * score) for score in scores] for query, scores in reference.items()}
    before, after = agreement_of(model, reference).measures, agreement_of(model, mapped).measures
    assert after.spearman == pytest.approx(before.spearman)
    assert (after.kendall, after.top_1, after.top_3, after.top_10) == (
        before.kendall,
        before.top_1,
        before.top_3,
        before.top_10,
    )
