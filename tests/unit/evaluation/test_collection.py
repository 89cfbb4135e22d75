"""Collections: narrowed, and told apart."""

from __future__ import annotations

from dataclasses import replace

from rerank.evaluation.collection import Collection

COLLECTION = Collection(
    name="made by hand",
    queries={f"q{number}": f"question {number}" for number in range(20)},
    documents={"a": "apple", "b": "banana", "c": "cherry"},
    candidates={f"q{number}": ("a", "b", "c") for number in range(20)},
    grades={"q0": {"b": 1}},
)


def test_is_narrowed_to_the_first_candidates_of_queries_drawn_by_the_seed() -> None:
    small = COLLECTION.narrowed(depth=2, sample=5, seed=7)

    assert len(small.candidates) == 5
    assert set(small.candidates.values()) == {("a", "b")}
    assert list(small.candidates) == sorted(small.candidates, key=list(COLLECTION.candidates).index)
    assert small.candidates == COLLECTION.narrowed(depth=2, sample=5, seed=7).candidates
    assert small.candidates.keys() != COLLECTION.narrowed(depth=2, sample=5, seed=8).candidates.keys()
    assert COLLECTION.narrowed(depth=9, sample=90) == COLLECTION


def test_pairs_and_texts_are_those_of_the_candidates() -> None:
    assert COLLECTION.narrowed(depth=2).pairs == 40
    assert COLLECTION.texts("q3") == ["apple", "banana", "cherry"]


def test_a_digest_changes_with_whatever_scores_and_measures_depend_on() -> None:
    changed = [
        replace(COLLECTION, documents={**COLLECTION.documents, "a": "Apple"}),
        replace(COLLECTION, queries={**COLLECTION.queries, "q1": "?"}),
        replace(COLLECTION, grades={"q0": {"b": 2}}),
        COLLECTION.narrowed(depth=2),
        COLLECTION.narrowed(sample=19),
    ]

    assert len({each.digest() for each in (COLLECTION, *changed)}) == 6
    assert replace(COLLECTION, name="another").digest() == COLLECTION.digest()


def test_queries_are_drawn_by_the_seed_0_unless_another_is_given() -> None:
    assert COLLECTION.narrowed(sample=5).candidates == COLLECTION.narrowed(sample=5, seed=0).candidates
    assert COLLECTION.narrowed(sample=5).candidates.keys() != COLLECTION.narrowed(sample=5, seed=1).candidates.keys()


def test_a_digest_is_the_same_in_every_release_so_that_kept_answers_are_found_again() -> None:
    assert COLLECTION.digest() == "ec5d624b02f110ecae1d0645710907cb"


def test_a_digest_does_not_depend_on_the_order_of_judging() -> None:
    one, other = (replace(COLLECTION, grades={"q0": grades}) for grades in ({"a": 0, "b": 1}, {"b": 1, "a": 0}))
    assert one.digest() == other.digest()
