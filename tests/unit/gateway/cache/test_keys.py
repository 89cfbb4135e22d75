from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.core import DEFAULT_OPTIONS, Pair, RawScore
from rerank.gateway.cache.keys import keys_of, pack, unpack

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(FLOATS, st.integers(0, 2**32 - 1), st.booleans() | st.none())
def test_a_score_is_read_as_it_was_written(logit: float, tokens: int, truncated: bool | None) -> None:
    score = RawScore(logit, tokens, truncated)
    assert unpack(pack(score)) == score


@pytest.mark.parametrize(
    "kept",
    [
        *(None, b"", b"1", pack(RawScore(1.0, 2)) + b"\0", pack(RawScore(1.0, 2))[:-1] + b"\3"),
        *(pack(RawScore(math.nan, 1)), pack(RawScore(math.inf, 1))),
    ],
)
def test_what_is_no_score_is_not_found(kept: bytes | None) -> None:
    assert unpack(kept) is None


def test_a_key_is_the_same_in_every_process_and_version() -> None:
    (key,) = keys_of("weights", [Pair("query", "document")], DEFAULT_OPTIONS)
    assert key.hex() == "b3cf54ac2b055e7332b1972df659a321"


def test_half_a_surrogate_pair_has_a_key() -> None:
    first, second = keys_of("weights", [Pair("\ud83d", "a"), Pair("\ude00", "a")], DEFAULT_OPTIONS)
    assert first != second
