from __future__ import annotations

import pytest

from rerank.core import Pair
from rerank.gateway.estimate import estimated_tokens, held_bytes


@pytest.mark.parametrize(
    ("pairs", "max_length", "tokens"),
    [
        ([], None, 0),
        ([Pair("", "")], None, 1),
        ([Pair("abcd", "abcdefgh")], None, 4),
        ([Pair("abc", "abcd")], None, 2),
        # three bytes a character
        ([Pair("巴黎", "巴黎")], None, 4),
        ([Pair("q" * 40, "d" * 400), Pair("q" * 40, "d" * 40)], 64, 64 + 21),
        ([Pair("\ud800", "x")], None, 2),
    ],
)
def test_four_bytes_are_a_token(pairs: list[Pair], max_length: int | None, tokens: int) -> None:
    assert estimated_tokens(pairs, max_length) == tokens


def test_a_long_text_is_estimated_by_its_beginning() -> None:
    text = "巴黎" * 1_000_000
    assert estimated_tokens([Pair("", text)], None) == 1 + 6_000_000 // 4


def test_a_query_of_all_documents_is_held_once() -> None:
    query = "q" * 1_000_000
    assert 1_000_000 < held_bytes([Pair(query, str(number)) for number in range(5000)]) < 2_000_000


def test_one_emoji_widens_every_character() -> None:
    assert held_bytes([Pair("", "a" * 1_000_000 + "😀")]) > 4_000_000
