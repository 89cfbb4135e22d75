"""Chunks of documents, as tokenizers of every kind count them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby, pairwise

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rerank.core import DEFAULT_OPTIONS, Chunking, Pair, ScoringOptions, Span, Truncation
from rerank.errors import InvalidRequest
from rerank.runtimes.base import TokenIds
from rerank.scorers.base import Reading, ReadsInParts, finish
from rerank.scorers.chunks import read_chunks
from rerank.scorers.fake import WordOverlapScorer
from rerank.scorers.tokens import PairTokenizer
from rerank.spans import joins
from tests.unit.scorers.tokenizers import KINDS

NEEDLE = "the giant panda"
WORDS = (
    "the panda is a bear, or not. ",
    "word\r\nword\r\n\r\n",
    "机器学习是人工智能的一个分支。",
    "中文",
    "👩‍👩‍👧😀🇩🇪",
    "e\u0301\u0302",
    "ﬁ①ﷺ각\u1100\u1161",
    "x" * 150,
    "a",
    "    ",
)
noise = st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace").decode())
texts = st.lists(st.tuples(st.one_of(st.sampled_from(WORDS), noise), st.integers(1, 60)), min_size=1, max_size=6).map(
    lambda parts: "".join(part * times for part, times in parts)
)


class PairReader(ReadsInParts):
    """The reading half of a cross-encoder."""

    def __init__(self, kind: str, max_length: int = 64) -> None:
        self.max_length = max_length
        self._tokenizer = PairTokenizer(KINDS[kind]())
        self.read = 0
        """Characters tokenised so far."""

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[TokenIds]]:
        reading = self._tokenizer.pairs(pairs, options.truncation, self.max_length)
        while True:
            try:
                part = next(reading)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.read += part.characters
            yield part


def chunks_of(
    reader: PairReader | WordOverlapScorer,
    text: str,
    chunking: Chunking,
    options: ScoringOptions = DEFAULT_OPTIONS,
    query: str = "panda?",
) -> list[Span]:
    (found,) = finish(read_chunks(reader, [Pair(query, text)], options, chunking))  # type: ignore[arg-type]
    return found


def is_read_whole(reader: PairReader | WordOverlapScorer, text: str, options: ScoringOptions = DEFAULT_OPTIONS) -> bool:
    (encoded,) = reader.encode([Pair("panda?", text)], options)
    return encoded.cut is None


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, room=st.integers(24, 80), overlap=st.integers(0, 40))
@settings(max_examples=10, deadline=None)
def test_every_character_is_in_a_chunk_that_is_read_whole(kind: str, text: str, room: int, overlap: int) -> None:
    reader = PairReader(kind, room)
    spans = chunks_of(reader, text, Chunking(100_000, overlap))
    assert spans[0].start == 0
    assert spans[-1].end == len(text)
    assert all(one.end >= other.start for one, other in pairwise(spans))
    assert all(one.start < other.start and one.end < other.end for one, other in pairwise(spans))
    assert all(is_read_whole(reader, text[span.start : span.end]) for span in spans)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, room=st.integers(24, 80), most=st.integers(2, 6))
@settings(max_examples=10, deadline=None)
def test_no_more_chunks_than_allowed_from_start_to_end(kind: str, text: str, room: int, most: int) -> None:
    reader = PairReader(kind, room)
    spans = chunks_of(reader, text, Chunking(most, 8))
    assert len(spans) <= most
    assert (spans[0].start, spans[-1].end) == (0, len(text))
    assert all(one.start < other.start for one, other in pairwise(spans))
    assert all(is_read_whole(reader, text[span.start : span.end]) for span in spans)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, overlap=st.integers(0, 20))
@settings(max_examples=10, deadline=None)
def test_characters_that_are_seen_as_one_stay_together(kind: str, text: str, overlap: int) -> None:
    # more marks in a row than a chunk has room for have to be cut
    assume(_most_joined(text) < 25)
    for span in chunks_of(PairReader(kind, 120), text, Chunking(100_000, overlap)):
        assert not joins(text, span.start)
        assert not joins(text, span.end)


def _most_joined(text: str) -> int:
    """The most characters in a row that each belong to the one before."""
    rows = groupby(joins(text, place) for place in range(len(text)))
    return max((len(list(row)) for joined, row in rows if joined), default=0)


WORDS_OF_ONE_TOKEN = " ".join(f"w{number}" for number in range(1000))


@pytest.fixture
def words() -> WordOverlapScorer:
    """One word is one token; next to a query of one word there is room for 60."""
    return WordOverlapScorer(max_length=64)


def words_of(text: str, spans: Sequence[Span]) -> list[list[str]]:
    return [text[span.start : span.end].split() for span in spans]


class TestWindows:
    def test_are_as_long_as_the_model_reads_and_share_the_overlap(self, words: WordOverlapScorer) -> None:
        found = words_of(WORDS_OF_ONE_TOKEN, chunks_of(words, WORDS_OF_ONE_TOKEN, Chunking(100, overlap=10)))
        assert {len(chunk) for chunk in found[:-1]} == {60}
        # where the next begins may be a word earlier, for a place between two words
        assert all(10 <= len(set(one) & set(other)) <= 11 for one, other in pairwise(found))

    def test_an_overlap_is_half_a_chunk_at_most(self, words: WordOverlapScorer) -> None:
        found = words_of(WORDS_OF_ONE_TOKEN, chunks_of(words, WORDS_OF_ONE_TOKEN, Chunking(100, overlap=500)))
        assert all(len(set(one) & set(other)) <= 31 for one, other in pairwise(found))

    def test_without_overlap_no_word_is_read_twice(self, words: WordOverlapScorer) -> None:
        found = words_of(WORDS_OF_ONE_TOKEN, chunks_of(words, WORDS_OF_ONE_TOKEN, Chunking(100, overlap=0)))
        assert list(chain(*found)) == WORDS_OF_ONE_TOKEN.split()

    @pytest.mark.parametrize(
        ("truncation", "room"),
        [
            (Truncation(max_tokens=30), 26),
            (Truncation(max_tokens_per_document=20), 20),
            (Truncation(max_tokens=30, max_tokens_per_document=28), 26),
            (Truncation(max_tokens=30, side="left"), 26),
            (Truncation(max_tokens=30, allowed=False), 26),
        ],
        ids=str,
    )
    def test_limits_of_the_request_are_those_of_a_chunk(
        self, words: WordOverlapScorer, truncation: Truncation, room: int
    ) -> None:
        options = ScoringOptions(truncation)
        spans = chunks_of(words, WORDS_OF_ONE_TOKEN, Chunking(1000, overlap=4), options)
        assert {len(chunk) for chunk in words_of(WORDS_OF_ONE_TOKEN, spans)[:-1]} == {room}
        assert spans[-1].end == len(WORDS_OF_ONE_TOKEN)

    def test_more_than_allowed_are_spread_evenly(self, words: WordOverlapScorer) -> None:
        spans = chunks_of(words, WORDS_OF_ONE_TOKEN, Chunking(5, overlap=10))
        assert {len(chunk) for chunk in words_of(WORDS_OF_ONE_TOKEN, spans)} == {60}
        assert (spans[0].start, spans[-1].end) == (0, len(WORDS_OF_ONE_TOKEN))
        steps = [other.start - one.start for one, other in pairwise(spans)]
        assert max(steps) - min(steps) <= 10

    def test_a_document_that_fits_is_in_one_piece(self, words: WordOverlapScorer) -> None:
        text = " ".join(["word"] * 60)
        assert chunks_of(words, text, Chunking(8)) == [Span(0, len(text))]
        assert chunks_of(words, "", Chunking(8)) == [Span(0, 0)]

    def test_with_one_chunk_the_document_is_cut_as_ever(self, words: WordOverlapScorer) -> None:
        assert chunks_of(words, WORDS_OF_ONE_TOKEN, Chunking(1)) == [Span(0, len(WORDS_OF_ONE_TOKEN))]

    def test_a_document_that_may_not_be_cut_is_left_whole_if_it_takes_too_many(self, words: WordOverlapScorer) -> None:
        options = ScoringOptions(Truncation(allowed=False))
        assert chunks_of(words, WORDS_OF_ONE_TOKEN, Chunking(5), options) == [Span(0, len(WORDS_OF_ONE_TOKEN))]

    def test_documents_of_a_request_are_divided_each_on_its_own(self, words: WordOverlapScorer) -> None:
        texts = ["short", WORDS_OF_ONE_TOKEN, "", WORDS_OF_ONE_TOKEN[:2000]]
        pairs = [Pair("panda?", text) for text in texts]
        found = finish(read_chunks(words, pairs, DEFAULT_OPTIONS, Chunking(30)))
        assert found == [chunks_of(words, text, Chunking(30)) for text in texts]

    def test_a_query_that_leaves_no_room_is_refused(self, words: WordOverlapScorer) -> None:
        with pytest.raises(InvalidRequest, match="leaves no room"):
            chunks_of(words, "a b c", Chunking(8), query="q " * 64)

    def test_a_room_of_one_token_is_enough(self) -> None:
        reader = PairReader("word_pieces", 64)
        options = ScoringOptions(Truncation(max_tokens_per_document=1))
        spans = chunks_of(reader, "the giant panda, 机器学习", Chunking(1000), options)
        assert all(one.end >= other.start > one.start for one, other in pairwise(spans))


@pytest.mark.parametrize("kind", ["word_pieces", "bytes_with_merges", "unsplit_merges"])
@pytest.mark.parametrize("most", [1, 8])
def test_no_more_is_read_of_a_huge_document_than_a_few_times_its_chunks(kind: str, most: int) -> None:
    reader = PairReader(kind, 512)
    text = "the panda, or not. " * 1_600_000
    spans = chunks_of(reader, text, Chunking(most))
    assert len(spans) == most
    kept = sum(span.end - span.start for span in spans) if most > 1 else 0
    assert reader.read <= 15 * kept


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_grows_with_the_document(kind: str) -> None:
    reader = PairReader(kind, 512)
    text = "the panda, or not. 中文" * 5_000
    chunks_of(reader, text, Chunking(1000))
    assert reader.read <= 6 * len(text)
