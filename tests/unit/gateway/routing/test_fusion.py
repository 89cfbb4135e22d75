from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.catalog.routes import Fusion
from rerank.core import Span
from rerank.gateway.ranking import rank
from rerank.gateway.routing.fusion import fuse
from rerank.results import NOT_SCORED, Chunk, DocumentScore

FUSIONS: tuple[Fusion, ...] = ("rrf", "mean", "weighted")
RELEVANCES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


def scores(*relevances: float) -> list[DocumentScore]:
    return [DocumentScore(relevance, relevance, tokens=5) for relevance in relevances]


def order(found: list[DocumentScore]) -> list[int]:
    return [document.index for document in rank(found, None)]


def test_rrf_is_the_share_of_what_first_place_everywhere_gives() -> None:
    fused = fuse([scores(0.9, 0.1), scores(0.8, 0.7)], "rrf")
    assert fused[0].relevance == pytest.approx(1)
    assert fused[1].relevance == pytest.approx(61 / 62)


def test_rrf_goes_by_rank_alone() -> None:
    assert order(fuse([scores(0.9, 0.5, 0.1), scores(0.1, 0.11, 0.12)], "rrf")) == [0, 2, 1]


def test_the_mean_is_of_relevance() -> None:
    assert [score.relevance for score in fuse([scores(0.9, 0.2), scores(0.1, 0.6)], "mean")] == [0.5, 0.4]


def test_a_member_counts_by_its_weight() -> None:
    fused = fuse([scores(1.0, 0.0), scores(0.0, 1.0)], "weighted", [3.0, 1.0])
    assert [score.relevance for score in fused] == [0.75, 0.25]


def test_every_model_needs_a_weight() -> None:
    with pytest.raises(ValueError, match="longer"):
        fuse([scores(1.0), scores(0.0)], "weighted", [3.0])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_model_ranks_the_same_documents(fusion: Fusion) -> None:
    with pytest.raises(ValueError, match="shorter"):
        fuse([scores(1.0, 0.5), scores(0.0)], fusion, [1.0, 1.0])


def test_a_document_gets_nothing_from_a_model_that_did_not_score_it() -> None:
    fused = fuse([[NOT_SCORED, *scores(0.5)], scores(1.0, 0.5)], "mean")
    assert [score.relevance for score in fused] == [0.5, 0.5]
    fused = fuse([[NOT_SCORED, *scores(0.5)], scores(1.0, 0.5)], "rrf")
    assert fused[0].relevance == pytest.approx(0.5)


def test_a_document_that_no_model_scored_is_not_scored() -> None:
    assert fuse([[NOT_SCORED], [NOT_SCORED]], "mean") == [NOT_SCORED]


def test_details_are_those_of_all_members() -> None:
    chunk = Chunk(Span(0, 3), 0.4)
    read = DocumentScore(0.4, 0.0, 7, truncated=True)
    chunked = DocumentScore(0.4, 0.0, 9, best_chunk=chunk, chunks=(chunk,))
    (fused,) = fuse([[read], [chunked]], "mean")
    assert (fused.tokens, fused.truncated, fused.best_chunk, fused.chunks) == (16, True, chunk, (chunk,))
    (whole,) = fuse([[read], [read]], "mean")
    assert whole.chunks == ()


@pytest.mark.parametrize(("said", "truncated"), [((False, False), False), ((False, None), None), ((None, True), True)])
def test_a_document_may_have_been_cut_by_any_member(said: tuple[bool | None, ...], truncated: bool | None) -> None:
    (fused,) = fuse([[DocumentScore(0.5, 0.0, truncated=each)] for each in said], "mean")
    assert fused.truncated is truncated


def test_members_that_count_for_nothing_count_equally_where_no_other_is_left() -> None:
    assert [score.relevance for score in fuse([scores(1.0, 0.5), scores(0.0, 0.5)], "weighted", [0, 0])] == [0.5, 0.5]


@pytest.mark.parametrize("fusion", ["mean", "weighted"])
def test_fused_relevance_is_finite(fusion: Fusion) -> None:
    fused = fuse([scores(1.7e308, -1.7e308)] * 2, fusion)
    assert [score.relevance for score in fused] == [1.7e308, -1.7e308]


@pytest.mark.parametrize("fusion", FUSIONS)
@given(relevances=RELEVANCES, models=st.integers(1, 4))
def test_a_fusion_of_equal_rankings_is_that_ranking(fusion: Fusion, relevances: list[float], models: int) -> None:
    ranking = scores(*relevances)
    weights = [1.0] * models if fusion == "weighted" else ()
    assert order(fuse([ranking] * models, "rrf")) == order(ranking)
    fused = fuse([ranking] * models, fusion, weights)
    ranked = order(fused)
    # sums of equal numbers may round; nothing may change places that differs by more
    assert sorted(ranked) == list(range(len(ranking)))
    for place, after in pairwise(ranked):
        assert ranking[place].relevance >= ranking[after].relevance - 1e-9


@pytest.mark.parametrize("fusion", ["rrf", "mean"])
@given(relevances=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_fused_relevance_stays_within_0_and_1(fusion: Fusion, relevances: list[tuple[float, float]]) -> None:
    rankings = [scores(*each) for each in zip(*relevances, strict=True)]
    assert all(0 <= score.relevance <= 1 + 1e-9 for score in fuse(rankings, fusion))
