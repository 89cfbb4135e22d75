"""Weights of an ensemble's members, and whether they are worth it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import pytest

from rerank.errors import SettingsError
from rerank.evaluation.collection import Collection
from rerank.evaluation.measures import UnknownMeasure
from rerank.evaluation.rankers import Ranked
from rerank.evaluation.scoring import Scored
from rerank.evaluation.tuning import Tuned, Weights, by_agreement, by_measure, candidates, tune

QUERIES = [f"q{number}" for number in range(30)]
DOCUMENTS = [f"d{number}" for number in range(6)]
CHANCE = numpy.random.default_rng(11)
TRUTH = {query: CHANCE.random(len(DOCUMENTS)) for query in QUERIES}
COLLECTION = Collection(
    "made up",
    {query: query for query in QUERIES},
    {document: document for document in DOCUMENTS},
    {query: tuple(DOCUMENTS) for query in QUERIES},
    {query: {DOCUMENTS[int(values.argmax())]: 1} for query, values in TRUTH.items()},
)


def scored(model: str, noise: float) -> Scored:
    """The truth with noise."""
    values = {query: truth + CHANCE.normal(0, noise, len(truth)) for query, truth in TRUTH.items()}
    return Scored(model, {query: Ranked(tuple(map(float, each)), (), 0, 0.0) for query, each in values.items()})


GOOD, ALIKE, BAD, EXACT = scored("good", 0.05), scored("alike", 0.05), scored("bad", 3.0), scored("exact", 0.0)


class TestCandidates:
    @pytest.mark.parametrize(("members", "ways"), [(2, 21), (3, 91), (4, 165), (5, 206)])
    def test_candidates_begin_with_equal_weights_and_have_each_member_alone(self, members: int, ways: int) -> None:
        tried = candidates(members)
        assert tried[0] == (1 / members,) * members
        assert {tuple(row) for row in numpy.eye(members).tolist()} <= set(tried)
        assert len(tried) == ways
        assert all(sum(weights) == pytest.approx(1) and min(weights) >= 0 for weights in tried)

    def test_the_same_seed_draws_the_same_candidates(self) -> None:
        assert candidates(6, seed=1) == candidates(6, seed=1) != candidates(6, seed=2)

    def test_the_most_equal_come_first_and_of_equally_equal_ones_the_smaller(self) -> None:
        assert candidates(2)[:5] == [(0.5, 0.5), (0.45, 0.55), (0.55, 0.45), (0.4, 0.6), (0.6, 0.4)]
        twelfths = [tuple(round(12 * weight) for weight in weights) for weights in candidates(3)]
        assert twelfths[:4] == [(4, 4, 4), (3, 4, 5), (3, 5, 4), (4, 3, 5)]
        assert twelfths[-3:] == [(0, 0, 12), (0, 12, 0), (12, 0, 0)]

    def test_without_a_seed_candidates_are_those_of_the_seed_0(self) -> None:
        assert candidates(6) == candidates(6, seed=0)


class TestMeasures:
    def test_a_good_member_weighs_more_than_a_bad_one(self) -> None:
        tuned = tune(by_measure([BAD, GOOD], COLLECTION, "RR@10"), 2)
        assert tuned.weights[1] >= 0.9
        assert tuned.value > tuned.equal
        assert tuned.alone[1] > tuned.alone[0]
        assert (tuned.p < 0.05, tuned.worth_it, tuned.queries) == (True, True, 30)

    def test_of_members_that_are_alike_equal_weights_are_as_good(self) -> None:
        tuned = tune(by_measure([GOOD, ALIKE], COLLECTION, "nDCG@10"), 2)
        assert not tuned.worth_it
        assert tuned.p >= 0.05

    def test_only_judged_queries_count(self) -> None:
        grades = dict(list(COLLECTION.grades.items())[:4])
        few = Collection("few", COLLECTION.queries, COLLECTION.documents, COLLECTION.candidates, grades)
        assert len(by_measure([GOOD, BAD], few, "AP")((0.5, 0.5))) == 4

    def test_queries_without_a_judged_document_do_not_count(self) -> None:
        few = Collection(
            "few", COLLECTION.queries, COLLECTION.documents, COLLECTION.candidates, {**COLLECTION.grades, "q3": {}}
        )
        assert len(by_measure([GOOD], few, "AP")((1.0,))) == 29

    def test_the_best_fused_score_ranks_first(self) -> None:
        values = by_measure([EXACT, BAD], COLLECTION, "RR")((1.0, 0.0))
        assert list(values) == [1.0] * 30

    def test_an_unknown_measure_is_named(self) -> None:
        with pytest.raises(UnknownMeasure, match="'nDGC' is not a measure"):
            by_measure([GOOD, BAD], COLLECTION, "nDGC")

    def test_documents_of_equal_score_stay_in_order(self) -> None:
        flat = Scored("flat", {query: Ranked((0.5,) * 6, (), 0, 0.0) for query in QUERIES})
        values = by_measure([flat], COLLECTION, "RR@10")((1.0,))
        assert values == pytest.approx([1 / (1 + int(TRUTH[query].argmax())) for query in QUERIES])


class TestAgreement:
    def test_the_reference_itself_has_all_the_weight(self) -> None:
        tuned = tune(by_agreement([BAD, EXACT], EXACT), 2)
        assert tuned.weights == pytest.approx((0, 1))
        assert tuned.value == pytest.approx(1)
        assert tuned.worth_it

    def test_a_query_whose_documents_the_reference_does_not_tell_apart_is_left_out(self) -> None:
        flat = {**EXACT.ranked, "q0": Ranked((0.5,) * 6, (), 0, 0.0)}
        assert len(by_agreement([GOOD], Scored("reference", flat))((1.0,))) == 29

    def test_a_query_with_two_scores_counts(self) -> None:
        two = {**EXACT.ranked, "q0": Ranked((0.5,) * 5 + (0.6,), (), 0, 0.0)}
        assert len(by_agreement([GOOD], Scored("reference", two))((1.0,))) == 30

    def test_members_that_tell_no_documents_apart_agree_with_nothing(self) -> None:
        flat = Scored("flat", {query: Ranked((0.5,) * 6, (), 0, 0.0) for query in QUERIES})
        assert list(by_agreement([flat], EXACT)((1.0,))) == [0.0] * 30

    def test_weights_are_of_the_members_scores(self) -> None:
        values = by_agreement([EXACT, BAD], EXACT)
        assert list(values((1.0, 0.0))) == pytest.approx([1.0] * 30)
        assert max(values((0.0, 1.0))) <= 1 > min(values((0.0, 1.0)))


class TestTuning:
    def test_values_are_the_means_over_the_queries(self) -> None:
        # the second member is good for the first query, and none for the others
        tuned = tune(lambda weights: [weights[1], 0.25, 0.25, 0.25, 0.0, weights[0] / 2], 2)
        assert tuned.queries == 6
        assert tuned.equal == pytest.approx((0.5 + 0.75 + 0.25) / 6)
        assert tuned.alone == pytest.approx(((0.75 + 0.5) / 6, (1 + 0.75) / 6))

    def test_the_seed_decides_the_folds_and_the_weights_that_are_drawn(self) -> None:
        def noise(weights: Weights) -> Sequence[float]:
            return numpy.random.default_rng(int(weights[0] * 1e9)).random(60).tolist()  # type: ignore[no-any-return]

        assert tune(noise, 2, seed=3) == tune(noise, 2, seed=3) != tune(noise, 2, seed=4)
        assert tune(noise, 2) == tune(noise, 2, seed=0)
        assert tune(noise, 5, seed=3).weights in candidates(5, seed=3)

    @pytest.mark.parametrize(
        ("value", "p", "worth_it"), [(0.6, 0.049, True), (0.6, 0.05, False), (0.5, 0.01, False), (0.4, 0.01, False)]
    )
    def test_weights_are_worth_it_if_they_beat_equal_ones_beyond_chance(
        self, value: float, p: float, worth_it: bool
    ) -> None:
        assert Tuned((0.3, 0.7), value, 0.5, (0.1, 0.2), p, 9).worth_it is worth_it

    def test_values_are_of_queries_that_the_weights_were_not_chosen_by(self) -> None:
        # each query likes weights of its own, which no other query does
        def lonely(weights: Weights) -> Sequence[float]:
            place = candidates(2).index(weights)
            return [1.0 if place == query + 1 else 0.0 for query in range(20)]

        tuned = tune(lonely, 2)
        assert tuned.value == 0
        assert not tuned.worth_it

    def test_of_equally_good_weights_the_most_equal_are_taken(self) -> None:
        assert tune(lambda _: [1.0, 1.0, 1.0], 3).weights == (1 / 3,) * 3

    def test_progress_is_reported_for_each_try(self) -> None:
        steps: list[int] = []
        tune(lambda _: [1.0, 0.5], 2, progress=steps.append)
        assert sum(steps) == len(candidates(2))

    @pytest.mark.parametrize("queries", [0, 1])
    def test_too_few_queries_are_refused(self, queries: int) -> None:
        with pytest.raises(SettingsError, match="are too few"):
            tune(lambda _: [1.0] * queries, 2)
