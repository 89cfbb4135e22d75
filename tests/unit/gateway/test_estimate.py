from __future__ import annotations

import pytest

from rerank.core import Pair
from rerank.gateway.estimate import estimated_tokens


@pytest.mark.parametrize(
    ("pairs", "max_length", "tokens"),
    [
        ([], None, 0),
        ([Pair("", "")], None, 1),
        ([Pair("abcd", "abcdefgh")], None, 4),
        # three bytes a character
        ([Pair("巴黎", "巴黎")], None, 4),
        ([Pair("q" * 40, "d" * 400), Pair("q" * 40, "d" * 40)], 64, 64 + 21),
        ([Pair("\ud800", "x")], None, 2),
    ],
)
def test_four_bytes_are_a_token(pairs: list[Pair], max_length: int | None, tokens: int) -> None:
    assert estimated_tokens(pairs, max_length) == tokens
