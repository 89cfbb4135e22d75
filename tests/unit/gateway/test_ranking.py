from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.activations import SIGMOID
from rerank.core import ScoredDocument
from rerank.gateway.ranking import rank

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LOGITS = st.lists(st.one_of(FINITE, st.integers(-3, 3).map(float)), max_size=50)


def indices(ranked: list[ScoredDocument]) -> list[int]:
    return [document.index for document in ranked]


class TestRank:
    def test_goes_from_the_highest_logit_to_the_lowest(self) -> None:
        ranked = rank([0.1, 2.0, -3.0], [0.52, 0.88, 0.05], None)
        assert ranked == [ScoredDocument(1, 0.88), ScoredDocument(0, 0.52), ScoredDocument(2, 0.05)]

    def test_equal_documents_keep_request_order(self) -> None:
        assert indices(rank([1.0, 2.0, 1.0, 2.0], [0.0] * 4, None)) == [1, 3, 0, 2]

    def test_goes_by_logit_where_scores_tie(self) -> None:
        logits = [800.0, 900.0]
        scores = [SIGMOID(logit) for logit in logits]
        assert scores == [1.0, 1.0]
        assert indices(rank(logits, scores, None)) == [1, 0]

    @pytest.mark.parametrize(
        ("top_n", "expected"),
        [(None, [2, 1, 0]), (0, [2, 1, 0]), (1, [2]), (2, [2, 1]), (3, [2, 1, 0]), (8, [2, 1, 0])],
    )
    def test_top_n_cuts_the_ranking_and_0_means_all(self, top_n: int | None, expected: list[int]) -> None:
        assert indices(rank([1.0, 2.0, 3.0], [0.1, 0.2, 0.3], top_n)) == expected

    def test_nothing_ranks_as_nothing(self) -> None:
        assert rank([], [], 3) == []

    @given(LOGITS)
    def test_is_a_stable_permutation_by_falling_logit(self, logits: list[float]) -> None:
        order = indices(rank(logits, logits, None))
        assert sorted(order) == list(range(len(logits)))
        for earlier, later in pairwise(order):
            assert (-logits[earlier], earlier) < (-logits[later], later)

    @given(LOGITS, st.integers(0, 60))
    def test_top_n_is_the_head_of_the_whole_ranking(self, logits: list[float], top_n: int) -> None:
        whole = rank(logits, logits, None)
        assert rank(logits, logits, top_n) == (whole[:top_n] if top_n else whole)

    @given(LOGITS)
    def test_every_document_keeps_its_own_score(self, logits: list[float]) -> None:
        scores = [SIGMOID(logit) for logit in logits]
        assert all(document.relevance_score == scores[document.index] for document in rank(logits, scores, None))
