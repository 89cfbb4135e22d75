"""Chunks of documents, as tokenizers of every kind count them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.core import DEFAULT_OPTIONS, Chunking, Pair, ScoringOptions, Span
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
                characters = next(reading)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.read += characters
            yield characters


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
@settings(max_examples=25, deadline=None)
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
@settings(max_examples=25, deadline=None)
def test_no_more_chunks_than_allowed_from_start_to_end(kind: str, text: str, room: int, most: int) -> None:
    reader = PairReader(kind, room)
    spans = chunks_of(reader, text, Chunking(most, 8))
    assert len(spans) <= most
    assert (spans[0].start, spans[-1].end) == (0, len(text))
    assert all(one.start < other.start for one, other in pairwise(spans))
    assert all(is_read_whole(reader, text[span.start : span.end]) for span in spans)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, overlap=st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_characters_that_are_seen_as_one_stay_together(kind: str, text: str, overlap: int) -> None:
    for span in chunks_of(PairReader(kind, 120), text, Chunking(100_000, overlap)):
        assert not joins(text, span.start)
        assert not joins(text, span.end)
