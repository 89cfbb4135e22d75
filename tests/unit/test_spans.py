from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.core import Span
from rerank.spans import chunk_end, chunk_start, chunks_of_characters, even_starts, joins, next_start

CLUSTERS = (
    "e\u0301\u0302",
    "👩‍👩‍👧",
    "👍🏽",
    "🇩🇪",
    "🏴\U000e0067\U000e0062\U000e007f",
    "\r\n",
    "각\u1100\u1161\u11a8",
    "\ud83d\ude00",
    "नि",
    "❤️",
)
"""Characters that readers see as one; of the seventh, two."""
WORDS = ("the panda ", "word\r\n\r\n", "机器学习。", "中文", "x" * 150, "   ", *CLUSTERS)
texts = st.lists(st.tuples(st.sampled_from(WORDS), st.integers(1, 40)), min_size=1, max_size=8).map(
    lambda parts: "".join(part * times for part, times in parts)
)
rooms = st.integers(1, 400)


def cuts(text: str) -> list[int]:
    return [place for place in range(len(text) + 1) if not joins(text, place)]


class TestJoins:
    @pytest.mark.parametrize("cluster", [cluster for cluster in CLUSTERS if "각" not in cluster])
    def test_what_readers_see_as_one_character_is_not_cut(self, cluster: str) -> None:
        assert cuts(f"a{cluster}b") == [0, 1, 1 + len(cluster), 2 + len(cluster)]

    def test_two_flags_are_cut_between_them(self) -> None:
        assert cuts("🇩🇪🇫🇷") == [0, 2, 4]

    def test_letters_and_lines_are_cut(self) -> None:
        assert cuts("ab\n\n中文각") == [0, 1, 2, 3, 4, 5, 6, 7]


class TestChunkEnd:
    def test_is_where_a_word_ends(self) -> None:
        assert chunk_end("the giant panda is a bear", 0, 19) == len("the giant panda is")

    def test_is_after_the_punctuation_of_a_text_without_spaces(self) -> None:
        assert chunk_end("机器学习是分支。机器学习", 0, 10) == len("机器学习是分支。")

    def test_cuts_a_word_that_is_too_long(self) -> None:
        assert chunk_end("a" * 1000, 100, 500) == 500

    def test_leaves_a_cluster_whole(self) -> None:
        family = "👩‍👩‍👧"
        assert chunk_end(family * 50, 0, 103) == 100

    def test_is_the_end_of_the_text_if_that_is_near(self) -> None:
        assert chunk_end("two words", 4, 9) == chunk_end("two words", 4, 900) == 9


class TestNextStart:
    def test_is_where_a_word_begins(self) -> None:
        text = "the giant panda is a bear of the mountains"
        assert text[next_start(text, Span(0, 28), 21) :].startswith("bear of")

    def test_without_overlap_is_the_last_end(self) -> None:
        assert next_start("one two three", Span(0, 7), 7) == 7

    def test_shares_half_at_most(self) -> None:
        assert next_start("a" * 1000, Span(0, 400), 0) == 200


class TestEvenStarts:
    def test_the_first_and_the_last_are_among_them(self) -> None:
        assert even_starts("a" * 1000, 900, 4) == [0, 300, 600, 900]
        assert even_starts("a" * 1000, 900, 2) == [0, 900]

    def test_are_where_words_begin(self) -> None:
        text = "word " * 1000
        assert all(text[start:].startswith("word") for start in even_starts(text, 4900, 7))


class TestChunkStart:
    def test_is_where_a_word_begins(self) -> None:
        text = "the giant panda is a bear"
        assert text[chunk_start(text, len(text), 6) :] == "panda is a bear"

    def test_is_the_start_of_a_text_that_is_short_enough(self) -> None:
        assert chunk_start("short", 5, 0) == chunk_start("short", 5, -3) == 0
        assert chunk_start("a bcdefghijk", 12, 0) == 0

    def test_is_the_limit_if_no_word_begins_near(self) -> None:
        assert chunk_start("x" * 10, 10, 1) == 1
        assert chunk_start("x" * 29 + " " + "x" * 10, 40, 20) == 20

    def test_leaves_a_cluster_whole(self) -> None:
        assert chunk_start("👩‍👩‍👧" * 4, 20, 7) == 10


class TestChunksOfCharacters:
    def test_a_text_that_fits_is_one(self) -> None:
        assert chunks_of_characters("word " * 10, 50, 8, 4) == [Span(0, 50)]

    def test_one_that_would_end_with_the_last_one_shares_nothing_with_it(self) -> None:
        # from the word that begins at 2 no more than to the space at 8, where the first one ended
        assert chunks_of_characters("a bbbbbb cccccccc", 8, 4, 10) == [Span(0, 8), Span(8, 16), Span(12, 17)]

    def test_a_single_one_is_all_of_the_text(self) -> None:
        assert chunks_of_characters("word " * 10, 20, 8, 1) == [Span(0, 50)]

    @given(texts, rooms, st.integers(0, 200), st.integers(2, 30))
    def test_order_room_and_number_hold(self, text: str, room: int, overlap: int, most: int) -> None:
        chunks = chunks_of_characters(text, room, overlap, most)
        assert 1 <= len(chunks) <= most
        assert chunks[0].start == 0
        assert chunks[-1].end == len(text)
        assert all(0 < chunk.end - chunk.start <= room for chunk in chunks)
        assert all(one.start < other.start and one.end < other.end for one, other in pairwise(chunks))

    @given(texts, rooms, st.integers(0, 200))
    def test_all_of_the_text_is_in_a_chunk(self, text: str, room: int, overlap: int) -> None:
        chunks = chunks_of_characters(text, room, overlap, len(text) + 2)
        assert all(one.end >= other.start for one, other in pairwise(chunks))

    @given(texts, st.integers(50, 400), st.integers(0, 200))
    def test_an_overlap_below_half_is_kept(self, text: str, room: int, overlap: int) -> None:
        chunks = chunks_of_characters(text, room, overlap, 10_000)
        for one, other in pairwise(chunks):
            assert one.end - other.start >= min(overlap, (one.end - one.start) // 2)

    @given(texts, st.integers(130, 400), st.integers(0, 200), st.integers(2, 10_000))
    def test_no_cluster_is_cut(self, text: str, room: int, overlap: int, most: int) -> None:
        for chunk in chunks_of_characters(text, room, overlap, most):
            assert not joins(text, chunk.start)
            assert not joins(text, chunk.end)
