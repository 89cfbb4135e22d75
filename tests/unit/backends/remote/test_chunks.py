from __future__ import annotations

import pytest

from rerank.backends.remote.chunks import characters_per_token, estimated_chunks
from rerank.core import Chunking, Pair, Span

HAN = "\u5b57"


def chunks(document: str, query: str, tokens: int = 30, overlap: int = 0) -> list[Span]:
    (found,) = estimated_chunks([Pair(query, document)], tokens, Chunking(8, overlap=overlap))
    return found


@pytest.mark.parametrize(
    ("text", "characters"),
    [
        ("", 4),
        ("letters", 4),
        (HAN * 9, 1.5),
        (f"abcd{HAN * 3}", 7 / 3),
        ("\u1112\uac00\uf900\U00020000", 1.5),
        ("x" * 16_384 + HAN * 9, 4),
    ],
)
def test_a_token_has_fewer_characters_the_more_of_them_are_ideographs(text: str, characters: float) -> None:
    assert characters_per_token(text) == pytest.approx(characters)


def test_chunks_have_the_room_that_the_query_leaves_and_overlap() -> None:
    # 30 tokens less 10 of the query are 80 letters; the overlap of 4 is 16
    assert chunks("x" * 200, "q" * 40, overlap=4) == [Span(0, 80), Span(64, 144), Span(128, 200)]


def test_ideographs_fill_a_chunk_sooner_whatever_the_query_is_written_in() -> None:
    assert chunks(HAN * 60, "q" * 40, overlap=4) == [Span(0, 30), Span(24, 54), Span(48, 60)]
    assert chunks("x" * 90, HAN * 15) == [Span(0, 80), Span(80, 90)]


def test_a_query_that_leaves_no_room_leaves_chunks_of_some_tokens() -> None:
    assert chunks("x" * 100, "q" * 400) == [Span(0, 64), Span(64, 100)]


def test_each_document_has_the_room_that_its_own_query_leaves() -> None:
    pairs = [Pair("q" * 40, "x" * 81), Pair("q" * 20, "x" * 81)]
    assert estimated_chunks(pairs, 30, Chunking(8, overlap=0)) == [[Span(0, 80), Span(80, 81)], [Span(0, 81)]]


def test_there_are_no_more_chunks_than_allowed() -> None:
    (found,) = estimated_chunks([Pair("q", "x" * 10_000)], 30, Chunking(3))
    assert len(found) == 3
