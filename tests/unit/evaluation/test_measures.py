"""Measures, worked out by hand, and intervals and significance, by simulation."""

from __future__ import annotations

from math import log2

import numpy
import pytest

from rerank.evaluation import measures as of_measures
from rerank.evaluation.intervals import interval_of, significance
from rerank.evaluation.measures import DEFAULT, Measures, UnknownMeasure

GRADES = {"first": {"a": 2, "b": 1, "c": 0, "missed": 1}, "second": {"x": 1}, "third": {"k": 1}}
RANKINGS = {"first": ("c", "a", "b"), "second": ("unjudged", "x"), "third": ("l",)}
BY_HAND = {
    "nDCG@10": ((2 / log2(3) + 1 / 2) / (2 + 1 / log2(3) + 1 / 2), 1 / log2(3), 0),
    "nDCG@2": ((2 / log2(3)) / (2 + 1 / log2(3)), 1 / log2(3), 0),
    "RR@10": (1 / 2, 1 / 2, 0),
    "RR@1": (0, 0, 0),
    "AP": ((1 / 2 + 2 / 3) / 3, 1 / 2, 0),
    "AP(rel=2)": (1 / 2, 0, 0),
    "R@2": (1 / 3, 1, 0),
    "P@5": (2 / 5, 1 / 5, 0),
    "Success@1": (0, 0, 0),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_measures_are_those_worked_out_by_hand(name: str) -> None:
    assert Measures([name], GRADES).values(RANKINGS)[name] == pytest.approx(BY_HAND[name], abs=1e-6)


def test_several_measures_and_a_query_without_a_ranking() -> None:
    values = Measures(list(BY_HAND), GRADES).values({"first": RANKINGS["first"]})
    assert {name: found[0] for name, found in values.items()} == pytest.approx(
        {name: found[0] for name, found in BY_HAND.items()}, abs=1e-6
    )
    assert all(found[1:] == (0, 0) for found in values.values())


def test_the_order_of_the_ranking_counts_whatever_the_ids_are() -> None:
    """trec_eval orders equal scores by id, and its scores are single precision."""
    documents = tuple(f"d{place:05}" for place in range(3000))
    measures = Measures(["RR"], {"q": {documents[2500]: 1}})
    assert measures.values({"q": documents})["RR"] == pytest.approx((1 / 2501,))
    assert measures.values({"q": documents[::-1]})["RR"] == pytest.approx((1 / 500,))


def test_grades_below_minus_1_count_as_minus_1(monkeypatch: pytest.MonkeyPatch) -> None:
    """trec_eval would write outside of its memory."""
    given: list[object] = []
    monkeypatch.setattr(of_measures, "_evaluator", lambda _, grades: given.append(grades))
    Measures([], {"q": {"a": 1, "b": 0, "c": -1, "d": -2, "e": -1_000_000}})
    assert given == [{"0": {"a": 1, "b": 0, "c": -1, "d": -1, "e": -1}}]


def test_names_are_those_of_ir_measures() -> None:
    assert Measures([*DEFAULT, "MAP", "MRR@10"], GRADES).names == ("nDCG@10", "RR@10", "AP", "R@10")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nDGC@10", "measure not found: nDGC"),
        ("", "problem parsing measure"),
        ("R", "cutoff is missing"),
        ("nDCG@0", "cutoff is 0, and may be from 1 to 1000000"),
        ("AP(rel=0)", "rel is 0, and may be from 1 to 1000000"),
        ("P@9999999999", "cutoff is 9999999999, and"),
        ("alpha_nDCG@10", "Unsupported measures"),
    ],
)
def test_a_wrong_name_is_refused_with_those_there_are(name: str, reason: str) -> None:
    with pytest.raises(UnknownMeasure, match=r"is not a measure \(.*nDCG@10, RR@10, .*Success") as raised:
        Measures(["AP", name], GRADES)
    assert f"{name!r} is not a measure ({reason}" in str(raised.value)


def test_intervals_cover_the_truth_about_95_times_in_100() -> None:
    chance = numpy.random.default_rng(5)
    values, shares = [1, 1 / 2, 1 / 3, 0], [0.5, 0.2, 0.1, 0.2]
    truth, covered = float(numpy.dot(values, shares)), 0
    for seed in range(60):
        found = interval_of(chance.choice(values, 40, p=shares).tolist(), seed)
        assert found is not None
        covered += found.low <= truth <= found.high
    # three standard deviations of such a count
    assert covered == pytest.approx(57, abs=3 * (60 * 0.95 * 0.05) ** 0.5)


def test_intervals_are_the_same_for_the_same_seed_and_need_two_values() -> None:
    values = [0.1, 0.5, 0.7, 1.0]
    assert interval_of(values, 1) == interval_of(values, 1) != interval_of(values, 2)
    assert interval_of([0.5]) is None
    assert interval_of([0.5, 0.5, 0.5]) == (0.5, 0.5)


def test_significance_is_the_share_of_exchanges_with_a_difference_as_large() -> None:
    """All of eight queries improve by the same: 2 of 256 exchanges do as well."""
    assert significance([0.6] * 8, [0.5] * 8) == pytest.approx(2 / 256, abs=0.003)
    # of four, one gets worse by as much: ten of sixteen exchanges have at least three on one side
    assert significance([1, 1, 1, 0], [0, 0, 0, 1]) == pytest.approx(10 / 16, abs=0.02)
    assert significance([0.5, 1], [0.5, 1]) == 1


def test_a_wrong_name_is_explained_and_every_measure_is_named_in_order() -> None:
    with pytest.raises(UnknownMeasure) as raised:
        Measures(["nDGC@10"], GRADES)
    said, _, names = str(raised.value).partition(", and others of ir-measures: ")
    assert said == (
        "'nDGC@10' is not a measure (measure not found: nDGC). "
        "Measures are nDCG@10, RR@10, AP, R@100, P@5, Success@1, AP(rel=2)"
    )
    known = names.split(", ")
    assert {"AP", "ERR", "nDCG", "infAP"} <= set(known)
    assert known == sorted(known, key=str.lower) != sorted(known)


def test_an_interval_of_many_values_is_that_of_the_normal_distribution() -> None:
    values = numpy.random.default_rng(3).normal(0.5, 0.1, 400)
    found = interval_of(values.tolist())
    assert found is not None
    half = 1.96 * values.std() / 20
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=half / 5)


def test_two_values_have_an_interval() -> None:
    assert interval_of([0.2, 0.4]) == pytest.approx((0.2, 0.4), abs=0.1)


def test_without_a_seed_intervals_and_significance_are_those_of_the_seed_0() -> None:
    values, others = [0.1, 0.5, 0.7, 1.0, 0.3], [0.2, 0.1, 0.5, 0.9, 0.4]
    assert interval_of(values) == interval_of(values, 0)
    assert significance(values, others) == significance(values, others, 0) != significance(values, others, 1)


def test_an_effect_of_either_sign_is_as_significant() -> None:
    better, worse = [0.5, 0.6, 0.9, 0.8, 0.7, 0.9], [0.4, 0.4, 0.2, 0.7, 0.6, 0.1]
    assert significance(better, worse) == significance(worse, better) < 0.05


@pytest.mark.parametrize("name", ["P@1", "P@1000000", "AP(rel=1000000)"])
def test_cutoffs_and_grades_go_up_to_a_million(name: str) -> None:
    assert Measures([name], GRADES).names == (name,)


def test_significance_finds_a_difference_among_5_in_100_where_there_is_none() -> None:
    chance = numpy.random.default_rng(7)
    found = [significance(chance.random(20).tolist(), chance.random(20).tolist(), seed) for seed in range(60)]
    assert sum(p < 0.05 for p in found) == pytest.approx(3, abs=3 * (60 * 0.05 * 0.95) ** 0.5)
