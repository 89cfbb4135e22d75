from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.activations import SIGMOID
from rerank.gateway.ranking import rank, with_floor
from rerank.results import NOT_SCORED, DocumentScore, ScoredDocument

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LOGITS = st.lists(st.one_of(FINITE, st.integers(-3, 3).map(float)), max_size=50)


def scores(*logits: float) -> list[DocumentScore]:
    return [DocumentScore(SIGMOID(logit), logit) for logit in logits]


def indices(ranked: list[ScoredDocument]) -> list[int]:
    return [document.index for document in ranked]


class TestRank:
    def test_documents_rank_from_the_highest_logit_to_the_lowest(self) -> None:
        found = scores(0.1, 2.0, -3.0)
        assert rank(found, None) == [ScoredDocument(place, found[place]) for place in (1, 0, 2)]

    def test_equal_documents_keep_request_order(self) -> None:
        assert indices(rank(scores(1.0, 2.0, 1.0, 2.0), None)) == [1, 3, 0, 2]

    def test_documents_whose_scores_tie_rank_by_logit(self) -> None:
        found = scores(800.0, 900.0)
        assert [score.relevance for score in found] == [1.0, 1.0]
        assert indices(rank(found, None)) == [1, 0]

    @pytest.mark.parametrize(
        ("top_n", "expected"),
        [(None, [2, 1, 0]), (0, [2, 1, 0]), (1, [2]), (2, [2, 1]), (3, [2, 1, 0]), (8, [2, 1, 0])],
    )
    def test_top_n_cuts_the_ranking_and_0_means_all(self, top_n: int | None, expected: list[int]) -> None:
        assert indices(rank(scores(1.0, 2.0, 3.0), top_n)) == expected

    def test_no_documents_have_an_empty_ranking(self) -> None:
        assert rank([], 3) == []

    @given(LOGITS)
    def test_a_ranking_is_a_stable_permutation_by_falling_logit(self, logits: list[float]) -> None:
        order = indices(rank(scores(*logits), None))
        assert sorted(order) == list(range(len(logits)))
        for earlier, later in pairwise(order):
            assert (-logits[earlier], earlier) < (-logits[later], later)

    @given(LOGITS, st.integers(0, 60))
    def test_top_n_is_the_head_of_the_whole_ranking(self, logits: list[float], top_n: int) -> None:
        whole = rank(scores(*logits), None)
        assert rank(scores(*logits), top_n) == (whole[:top_n] if top_n else whole)

    @given(LOGITS)
    def test_every_document_keeps_its_own_score(self, logits: list[float]) -> None:
        found = scores(*logits)
        assert all(document.score == found[document.index] for document in rank(found, None))

    def test_documents_below_the_threshold_are_left_out_before_top_n(self) -> None:
        found = scores(0.0, 5.0, -5.0, 0.0)
        assert indices(rank(found, 2, min_score=0.5)) == [1, 0]
        assert indices(rank(found, None, min_score=0.5)) == [1, 0, 3]
        assert rank(found, None, min_score=0.999) == []

    def test_documents_without_a_score_come_last_in_request_order(self) -> None:
        assert indices(rank([NOT_SCORED, *scores(-800.0), NOT_SCORED, *scores(-900.0)], None)) == [1, 3, 0, 2]


class TestWithFloor:
    @given(st.lists(st.one_of(FINITE, st.none()), max_size=20))
    def test_raw_logits_fall_along_the_ranking_and_scores_stay(self, logits: list[float | None]) -> None:
        found = [NOT_SCORED if logit is None else DocumentScore(logit, logit) for logit in logits]
        floored = with_floor(found)
        falling = [document.relevance_score for document in rank(floored, None)]
        assert [old for old, new in zip(found, floored, strict=True) if new.scored] == [
            score for score in found if score.scored
        ]
        assert falling == sorted(falling, reverse=True)
        assert all(score.relevance <= 0 for score in floored if not score.scored)
