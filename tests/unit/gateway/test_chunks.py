from __future__ import annotations

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.activations import IDENTITY, SIGMOID
from rerank.catalog.cards import ModelCard
from rerank.core import UNSCORED, Chunking, Pair, RawScore, Span
from rerank.gateway.chunks import ChunkRules, chunk_pairs, chunked_scores, documents_of
from rerank.results import NOT_SCORED, Chunk, DocumentScore

Aggregate = Literal["max", "mean", "first"]
AGGREGATES: tuple[Aggregate, ...] = ("max", "mean", "first")
THREE = [Span(0, 10), Span(8, 18), Span(16, 20)]

logits = st.floats(-50, 50).map(lambda logit: RawScore(logit, 7))
documents = st.lists(st.lists(st.one_of(logits, st.just(UNSCORED)), min_size=1, max_size=5), max_size=6)


def score(*raw: RawScore, aggregate: Aggregate = "max", listed: bool = False, spans: list[Span]) -> DocumentScore:
    (found,) = chunked_scores([spans], raw, SIGMOID, Chunking(8, aggregate=aggregate, listed=listed))
    return found


def side_by_side(count: int) -> list[Span]:
    return [Span(10 * place, 10 * place + 12) for place in range(count)]


CUT, READ, PLAIN = (ModelCard(id="m", long_documents=how) for how in ("cut", "chunk", None))


class TestWhoReadsInChunks:
    @pytest.mark.parametrize(
        ("card", "always", "in_chunks"),
        [(PLAIN, False, False), (PLAIN, True, True), (CUT, True, False), (READ, False, True)],
        ids=["neither says so", "the server", "the card does not", "the card"],
    )
    def test_where_the_request_does_not_say_the_card_decides_and_then_the_server(
        self, card: ModelCard, always: bool, in_chunks: bool
    ) -> None:
        assert ChunkRules(always).chunking(card, None, documents=3) == (Chunking(32) if in_chunks else None)

    @pytest.mark.parametrize(("most", "in_chunks"), [(2, True), (1, False)])
    def test_the_request_comes_before_both(self, most: int, in_chunks: bool) -> None:
        asked = Chunking(most, overlap=7, aggregate="mean")
        for card in (CUT, READ):
            assert ChunkRules(True).chunking(card, asked, documents=3) == (asked if in_chunks else None)

    def test_the_chunks_of_all_documents_have_a_limit(self) -> None:
        rules = ChunkRules(True, most=10)
        chunks = [rules.chunking(PLAIN, None, documents=documents) for documents in (0, 1, 3, 5, 6)]
        assert chunks == [Chunking(10), Chunking(10), Chunking(3), Chunking(2), None]


class TestChunkPairs:
    def test_each_chunk_stands_next_to_the_query_of_its_document(self) -> None:
        pairs = [Pair("one?", "abcdef"), Pair("two?", "gh")]
        spans = [[Span(0, 4), Span(3, 6)], [Span(0, 2)]]
        assert chunk_pairs(pairs, spans) == [Pair("one?", "abcd"), Pair("one?", "def"), Pair("two?", "gh")]
        assert documents_of(spans) == [0, 0, 1]

    def test_spans_count_characters_also_where_those_take_several_bytes(self) -> None:
        assert chunk_pairs([Pair("q", "😀中e\u0301x")], [[Span(1, 4)]]) == [Pair("q", "中e\u0301")]

    def test_chunks_of_other_documents_are_refused(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            chunk_pairs([Pair("q", "a"), Pair("q", "b")], [[Span(0, 1)]])


class TestChunkedScores:
    def test_a_document_in_one_piece_has_the_score_of_its_pair(self) -> None:
        found = score(RawScore(0.5, 12, truncated=True), spans=[Span(0, 99)], listed=True)
        assert found == DocumentScore(SIGMOID(0.5), 0.5, 12, truncated=True)

    def test_the_best_chunk_decides_and_is_named(self) -> None:
        found = score(RawScore(-1, 5), RawScore(2, 5), RawScore(1, 4), spans=THREE)
        assert found == DocumentScore(SIGMOID(2), 2, 14, best_chunk=Chunk(Span(8, 18), SIGMOID(2)))

    def test_the_mean_is_that_of_the_logits(self) -> None:
        found = score(RawScore(-1, 5), RawScore(3, 5), RawScore(1, 4), spans=THREE, aggregate="mean")
        assert found.key == pytest.approx(1)
        assert found.relevance == pytest.approx(SIGMOID(1))
        assert found.best_chunk == Chunk(Span(8, 18), SIGMOID(3))

    def test_the_first_chunk_decides_and_the_best_is_named(self) -> None:
        found = score(RawScore(-1, 5), RawScore(2, 5), RawScore(1, 4), spans=THREE, aggregate="first")
        assert (found.key, found.best_chunk) == (-1, Chunk(Span(8, 18), SIGMOID(2)))

    def test_of_equal_chunks_the_first_is_the_best(self) -> None:
        found = score(RawScore(1, 5), RawScore(2, 5), RawScore(2, 4), spans=THREE)
        assert found.best_chunk == Chunk(Span(8, 18), SIGMOID(2))

    def test_all_chunks_are_listed_on_request(self) -> None:
        raw = [RawScore(-1, 5), RawScore(2, 5), RawScore(1, 4)]
        assert not score(*raw, spans=THREE).chunks
        listed = score(*raw, spans=THREE, listed=True).chunks
        assert listed == tuple(Chunk(span, SIGMOID(each.logit)) for span, each in zip(THREE, raw, strict=True))

    def test_a_gap_between_chunks_is_truncation(self) -> None:
        raw = [RawScore(1, 5), RawScore(2, 5)]
        assert score(*raw, spans=[Span(0, 10), Span(11, 20)]).truncated
        assert not score(*raw, spans=[Span(0, 10), Span(10, 20)]).truncated

    def test_a_chunk_that_was_cut_is_truncation(self) -> None:
        assert score(RawScore(1, 5), RawScore(2, 5, truncated=True), spans=THREE[:2]).truncated

    def test_chunks_that_may_have_been_cut_make_truncation_unknown(self) -> None:
        whole, unknown, cut = (RawScore(1, 5, truncated=said) for said in (False, None, True))
        assert score(whole, unknown, spans=THREE[:2]).truncated is None
        assert score(unknown, cut, spans=THREE[:2]).truncated is True
        assert score(unknown, UNSCORED, spans=THREE[:2]).truncated is True

    def test_chunks_that_there_was_no_time_for_are_left_out(self) -> None:
        found = score(RawScore(1, 5), UNSCORED, RawScore(2, 4), spans=THREE, aggregate="mean", listed=True)
        assert found == DocumentScore(
            SIGMOID(1.5),
            1.5,
            9,
            truncated=True,
            best_chunk=Chunk(Span(16, 20), SIGMOID(2)),
            chunks=(Chunk(Span(0, 10), SIGMOID(1)), Chunk(Span(16, 20), SIGMOID(2))),
        )

    def test_without_any_chunk_a_document_is_not_scored(self) -> None:
        assert score(UNSCORED, UNSCORED, spans=THREE[:2]) == NOT_SCORED
        assert score(UNSCORED, spans=[Span(0, 5)]) == NOT_SCORED

    def test_without_its_first_chunk_a_document_judged_by_that_is_not_scored(self) -> None:
        assert score(UNSCORED, RawScore(2, 5), spans=THREE[:2], aggregate="first") == NOT_SCORED

    def test_logits_stay_what_they_are_where_no_activation_is_asked_for(self) -> None:
        (found,) = chunked_scores([THREE[:2]], [RawScore(-7.5, 5), RawScore(-9, 5)], IDENTITY, Chunking(8))
        assert found.relevance == found.key == -7.5

    @given(documents, st.sampled_from(AGGREGATES))
    def test_scores_lie_among_those_of_the_chunks_and_none_is_lost(
        self, found: list[list[RawScore]], aggregate: Aggregate
    ) -> None:
        spans = [side_by_side(len(chunks)) for chunks in found]
        raw = [each for chunks in found for each in chunks]
        scores = chunked_scores(spans, raw, SIGMOID, Chunking(8, aggregate=aggregate))
        assert len(scores) == len(found)
        for document, chunks in zip(scores, found, strict=True):
            scored = [each.logit for each in chunks if each.scored]
            assert not document.scored or min(scored) - 1e-9 <= document.key <= max(scored) + 1e-9
            assert document.scored or not scored or aggregate == "first"
            assert math.isfinite(document.relevance)
