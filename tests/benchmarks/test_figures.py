"""The arithmetic of the tables."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.figures import Sample, figures, ratios
from benchmarks.http_load import Record, report
from benchmarks.int8 import report as int8_report
from benchmarks.overhead import summary, texts
from benchmarks.quality import ndcg_at_10, read, spearman
from rerank.evaluation.collection import Collection


def test_figures_are_the_medians_of_the_rounds() -> None:
    latencies = tuple(place / 1000 for place in range(1, 102))
    rounds = [Sample(2.0, latencies), Sample(1.0, latencies), Sample(101.0, tuple(9 * one for one in latencies))]

    found = figures(rounds, documents=3)

    assert found.pairs_per_second == pytest.approx(101 * 3 / 2)
    assert (found.p50, found.p95, found.p99) == pytest.approx((51, 96, 100))


def test_ratios_are_to_the_first_that_is_there() -> None:
    assert ratios([None, 2.0, 3.0, None]) == [None, 1.0, 1.5, None]
    assert ratios([None]) == [None]


def test_the_table_has_a_line_a_contestant_and_says_who_is_missing() -> None:
    ours = Record("ours-fp32", None, [0.5, 0.25], {1: [Sample(1.0, (0.5, 0.5))]}, [10_000_000], [20_000_000])
    peer = Record("peer-fp32", None, [0.5, 0.35], {1: [Sample(2.0, (1.0, 1.0))]}, [30_000_000], [40_000_000])
    absent = Record("absent-fp32", "not installed here")

    lines = "\n".join(report([absent, ours, peer], [1], documents=4))

    assert "ours-fp32                          8.0   1.00     500.0     500.0     500.0          10        20" in lines
    assert "peer-fp32                          4.0   0.50    1000.0    1000.0    1000.0          30        40" in lines
    assert "scores of peer-fp32 are within 1.0e-01 of ours-fp32's" in lines
    assert "absent-fp32: not available: not installed here" in lines


def test_the_int8_table_is_to_the_first_that_ran() -> None:
    lines = int8_report(
        {"a-fp32": [], "b-fp32": [3.0, 1.0, 2.0], "c-int8": [1.0]}, {"b-fp32": [0.0], "c-int8": [0.5]}, {"a-fp32": "no"}
    )

    assert lines[0].split(maxsplit=1) == ["a-fp32", "not available: no"]
    assert "2.00 s   x 1.000" in lines[1]
    assert "1.00 s   x 0.500   logits within 5.0e-01 of b-fp32's" in lines[2]


def test_the_servers_share_is_the_difference_of_the_medians() -> None:
    assert summary([0.010, 0.020, 0.030], [0.001, 0.002, 0.009]) == pytest.approx((20, 2, 18, 18))


def test_documents_have_the_length_asked_for() -> None:
    assert {len(text) for text in texts(100, 600)} == {600}
    assert {len(text) for text in texts(3, 5000)} == {5000}


def test_ndcg_takes_equal_scores_in_their_order_and_misses_what_is_no_candidate() -> None:
    texts = {name: name for name in ("a", "b", "c", "d")}
    candidates = {"q": ("a", "b"), "r": ("c", "a")}
    judged = Collection("judged", {"q": "?", "r": "?"}, texts, candidates, {"q": {"b": 1}, "r": {"d": 1}})

    assert ndcg_at_10(judged, {"q": [5.0, 1.0], "r": [-3.0, -4.0]}) == pytest.approx(1 / math.log2(3) / 2)
    assert ndcg_at_10(judged, {"q": [1.0, 5.0], "r": [0.0, 0.0]}) == pytest.approx(1 / 2)
    assert ndcg_at_10(judged, {"q": [1.0, 1.0], "r": [0.0, 0.0]}) == pytest.approx(1 / math.log2(3) / 2)


def test_spearman_compares_query_by_query() -> None:
    assert spearman({"q": [1, 2, 3], "r": [1, 2, 3]}, {"q": [2, 4, 9], "r": [3, 2, 1]}) == pytest.approx([1, -1])


def test_a_judged_set_is_read_up_to_the_queries_and_candidates_asked_for(tmp_path: Path) -> None:
    (tmp_path / "run.bm25.json").write_text('{"q": ["a", "b"], "r": ["b", "a"]}')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq\ta\t1\nr\tb\t2\n")
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "what?"}\n{"_id": "r", "text": "who?"}\n')
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": "", "text": "A"}\n{"_id": "b", "text": "B"}\n')

    found = read(tmp_path, queries=1, candidates=1)

    assert found.candidates == {"q": ("a",)}
    assert found.grades == {"q": {"a": 1}}
    assert found.texts("q") == ["A"]
