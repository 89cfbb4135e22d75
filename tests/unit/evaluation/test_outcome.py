"""Tables, gains, worst queries and the page of an evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from rerank.evaluation.collection import Collection
from rerank.evaluation.intervals import interval_of, significance
from rerank.evaluation.measures import Measures
from rerank.evaluation.outcome import FIRST_STAGE, Effect, Outcome, reranked
from rerank.evaluation.rankers import Ranked
from rerank.evaluation.report import page
from rerank.evaluation.scoring import Scored
from rerank.evaluation.worst import worst_queries

EVIL = "<script>alert('a')</script>"
CANDIDATES = {"q1": ("a", "b", "c"), "q2": ("d", "e")}
GOOD = {"q1": (1, 2, 0), "q2": (0, 1)}
BAD = {"q1": (0, 1, 2), "q2": (1, 0)}


def _scored(name: str, orders: Mapping[str, tuple[int, ...]], seconds: float) -> Scored:
    return Scored(name, {query: Ranked((), order, 25, seconds) for query, order in orders.items()})


def _outcome() -> Outcome:
    collection = Collection(
        name=f"data {EVIL}",
        queries={"q1": f"first {EVIL}", "q2": "熊猫"},
        documents={document: f"{document} {EVIL}" for document in "abcde"},
        candidates=CANDIDATES,
        grades={"q1": {"b": 1, "c": 0}, "q2": {"d": 2}},
    )
    scored = [_scored("good", GOOD, 1.0), _scored(f"bad {EVIL}", BAD, 0.0)]
    return Outcome.of(collection, scored, Measures(["RR@10", "nDCG@10"], collection.grades), seed=0)


def test_candidates_beyond_the_depth_keep_their_order() -> None:
    candidates, scored = {"q": ("a", "b", "c", "d")}, _scored("m", {"q": (3, 1, 2, 0)}, 0)
    assert reranked(candidates, scored) == {"q": ("d", "b", "c", "a")}
    assert reranked(candidates, scored, depth=2) == {"q": ("b", "a", "c", "d")}
    assert reranked(candidates, scored, depth=9) == {"q": ("d", "b", "c", "a")}


def test_rows_are_the_first_stage_and_the_models() -> None:
    first, good, bad = _outcome().rows
    assert (first.name, good.name) == (FIRST_STAGE, "good")
    assert first.rankings == CANDIDATES
    assert good.rankings == {"q1": ("b", "c", "a"), "q2": ("d", "e")}
    assert [row.values["RR@10"] for row in (first, good, bad)] == [(0.5, 1), (1, 1), (0.5, 0.5)]
    assert [row.figures["RR@10"].mean for row in (first, good, bad)] == [0.75, 1, 0.5]
    assert (first.pairs_per_second, good.pairs_per_second, bad.pairs_per_second) == (None, 2.5, None)


def test_significance_is_against_the_first_model() -> None:
    first, good, bad = _outcome().rows
    assert good.figures["RR@10"].p is None
    # one of two queries differs: all exchanges have a difference as large
    assert first.figures["RR@10"].p == 1
    assert bad.figures["RR@10"].p is not None
    assert bad.figures["RR@10"].interval == (0.5, 0.5)


def test_gains_grow_with_the_depth() -> None:
    gains = _outcome().gains("RR@10")
    assert (gains.measure, gains.depths) == ("RR@10", (1, 2, 3))
    assert gains.rows[0] == pytest.approx((0, 0.25, 0.25))
    assert gains.rows[1] == pytest.approx((0, -0.25, -0.25))


def test_worst_queries_are_those_that_lose_most_with_documents_before_and_after() -> None:
    outcome = _outcome()
    worst, *others = worst_queries(outcome, outcome.models[1], "RR@10")
    assert [query.id for query in others] == ["q1"]
    assert (worst.id, worst.query, worst.value_before, worst.value_after) == ("q2", "熊猫", 1, 0.5)
    assert [(shown.id, shown.place, shown.before, shown.grade) for shown in worst.before] == [
        ("d", 1, 1, 2),
        ("e", 2, 2, None),
    ]
    assert [(shown.id, shown.place, shown.before, shown.grade) for shown in worst.after] == [
        ("e", 1, 2, None),
        ("d", 2, 1, 2),
    ]


def test_a_relevant_document_further_down_is_shown_too_and_long_texts_are_cut() -> None:
    documents = tuple(f"d{place}" for place in range(1, 10))
    collection = Collection(
        name="data",
        queries={"q": "?"},
        documents=dict.fromkeys(documents, "x" * 1000),
        candidates={"q": documents},
        grades={"q": {"d8": 1, "d9": 1}},
    )
    scored = [_scored("same", {"q": tuple(range(9))}, 1)]
    outcome = Outcome.of(collection, scored, Measures(["AP"], collection.grades), seed=0)
    (worst,) = worst_queries(outcome, outcome.models[0], "AP")
    assert [shown.place for shown in worst.after] == [1, 2, 3, 4, 5, 8]
    assert {len(shown.excerpt) for shown in worst.after} == {243}


def test_the_effect_of_normalised_texts_is_that_of_the_queries_that_they_change() -> None:
    collection = _outcome().collection
    plain, unified = _scored("m", GOOD, 1.0), _scored("m", {"q2": (1, 0)}, 1.0)
    measures = Measures(["RR"], collection.grades)
    (row,) = Outcome.of(collection, [plain], measures, 0, [unified]).models
    assert list(row.values["RR"]) == [1, 1]
    assert row.effects is not None
    assert row.effects["RR"] == Effect(-0.25, 1.0)
    assert _outcome().models[0].effects is None


MANY = Collection(
    name="many",
    queries={f"q{number}": f"question {number}" for number in range(12)},
    documents={"a": "x" * 240, "b": "y" * 241, "c": "z"},
    candidates={f"q{number}": ("a", "b", "c") for number in range(12)},
    grades={f"q{number}": {"c": 1} for number in range(12)},
)
SHIFTED = {f"q{number}": ((2, 0, 1), (0, 2, 1), (1, 2, 0))[number % 3] for number in range(12)}
"""The relevant document comes first, second, second."""


def many(seed: int) -> Outcome:
    other = {query: order[::-1] for query, order in list(SHIFTED.items())[::2]}
    scored = [_scored("one", SHIFTED, 1), _scored("two", SHIFTED | other, 1)]
    unified = [_scored("one", other, 1), _scored("two", {}, 1)]
    return Outcome.of(MANY, scored, Measures(["RR"], MANY.grades), seed, unified)


def test_the_seed_decides_intervals_and_significance() -> None:
    def by_chance(seed: int) -> list[object]:
        rows = many(seed).rows
        return [[row.figures["RR"], row.effects and row.effects["RR"]] for row in rows]

    assert by_chance(3) == by_chance(3)
    for one, other in zip(by_chance(3), by_chance(4), strict=True):
        assert one != other


def test_differences_are_tested_query_by_query() -> None:
    outcome = many(seed=3)
    first, one, two = (row.values["RR"] for row in outcome.rows)
    assert outcome.first_stage.figures["RR"].p == significance(first, one, 3)
    assert outcome.models[1].figures["RR"].p == significance(two, one, 3)
    assert outcome.models[1].figures["RR"].interval == interval_of(two, 3)
    effect, none = (row.effects["RR"] for row in outcome.models if row.effects)
    # what normalising makes of the first model is what the second one is
    assert effect.difference == pytest.approx(sum(two) / 12 - sum(one) / 12)
    assert effect.p == significance(two, one, 3)
    assert none == Effect(0, 1)


def test_the_last_depth_is_that_of_all_candidates() -> None:
    pairs = Collection("pairs", {"q": "?"}, {"a": "", "b": ""}, {"q": ("a", "b")}, {"q": {"b": 1}})
    outcome = Outcome.of(pairs, [_scored("m", {"q": (1, 0)}, 1)], Measures(["RR"], pairs.grades), seed=0)
    assert (outcome.gains("RR").depths, outcome.gains("RR").rows) == ((1, 2), ((0.0, 0.5),))


def test_each_model_has_to_be_scored_with_normalised_texts() -> None:
    scored = [_scored("one", SHIFTED, 1), _scored("two", SHIFTED, 1)]
    with pytest.raises(ValueError, match="shorter"):
        Outcome.of(MANY, scored, Measures(["RR"], MANY.grades), 0, scored[:1])


def test_ten_queries_are_shown_and_of_equal_losses_first_those_with_the_lowest_values() -> None:
    grades = {**MANY.grades, "q5": {"b": 1}, "q7": {"a": 1}}
    scored = [_scored("same", dict.fromkeys(MANY.candidates, (0, 1, 2)), 1)]
    outcome = Outcome.of(
        Collection(MANY.name, MANY.queries, MANY.documents, MANY.candidates, grades),
        scored,
        Measures(["RR"], grades),
        seed=0,
    )
    assert [query.id for query in worst_queries(outcome, outcome.models[0], "RR")] == [
        f"q{number}" for number in (0, 1, 2, 3, 4, 6, 8, 9, 10, 11)
    ]


def test_a_text_of_240_characters_is_shown_whole() -> None:
    outcome = many(seed=0)
    worst, *_ = worst_queries(outcome, outcome.models[0], "RR")
    assert {shown.id: shown.excerpt for shown in worst.before} == {"a": "x" * 240, "b": "y" * 240 + "...", "c": "z"}


def test_of_the_documents_further_down_only_a_relevant_one_is_shown() -> None:
    documents = tuple(f"d{place}" for place in range(1, 10))
    for grades, places in (({"d1": 1, "d7": 0}, [1, 2, 3, 4, 5]), ({"d6": 1}, [1, 2, 3, 4, 5, 6])):
        collection = Collection("data", {"q": "?"}, dict.fromkeys(documents, "x"), {"q": documents}, {"q": grades})
        scored = [_scored("same", {"q": tuple(range(9))}, 1)]
        outcome = Outcome.of(collection, scored, Measures(["AP"], collection.grades), seed=0)
        (worst,) = worst_queries(outcome, outcome.models[0], "AP")
        assert [shown.place for shown in worst.before] == places


def test_the_page_is_one_file_without_scripts_or_addresses() -> None:
    shown = page(_outcome())
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;alert(&#39;a&#39;)&lt;/script&gt;") >= 10
    assert "default-src 'none'" in shown
    assert shown.count("<svg") == 1
    # namespaces of SVG are names, not addresses to be fetched
    targets = re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?(.)", shown)
    assert set(targets) == {"#"}
    assert "@import" not in shown
    assert set(re.findall(r"https?://[^\"]+", shown)) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_the_page_shows_the_table_and_the_worst_queries() -> None:
    shown = page(_outcome())
    assert re.search(r"<td>good</td>\s*<td class=\"number\">1.0000", shown)
    assert '<td class="number">2.5</td>' in shown
    assert shown.count("<details>") == 4
    assert "熊猫" in shown
    assert re.search(r"1.0000 → 0.5000", shown)
