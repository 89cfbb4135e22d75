from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.backends.remote.answers import Answer, Scored
from rerank.backends.remote.parts import Part, raw_scores, split
from rerank.core import Pair, RawScore

PAIRS = st.lists(st.builds(Pair, st.sampled_from("qr"), st.text("ab", max_size=2)), max_size=30)


@given(PAIRS, st.integers(1, 7))
def test_every_pair_is_in_one_part(pairs: list[Pair], most: int) -> None:
    parts = split(pairs, most)
    assert all(0 < len(part.documents) <= most for part in parts)
    found = {
        place: Pair(part.query, document)
        for part in parts
        for document, places in zip(part.documents, part.places, strict=True)
        for place in places
    }
    assert [found[place] for place in range(len(pairs))] == pairs
    assert sum(len(places) for part in parts for places in part.places) == len(pairs)


@given(st.integers(1, 30), st.integers(0, 1000))
def test_the_tokens_of_a_part_are_shared_out(documents: int, tokens: int) -> None:
    part = Part("q", ["d"] * documents, [])
    counts = [score.tokens for score in raw_scores(part, Answer([Scored(0.0)] * documents, tokens))]
    assert sum(counts) == tokens
    assert max(counts) - min(counts) <= 1


def test_tokens_that_are_not_told_are_estimated() -> None:
    part = Part("q" * 8, ["d" * 5, ""], [[0], [1]])
    found = raw_scores(part, Answer([Scored(0.1), Scored(0.2, truncated=True)], None))
    assert found == [RawScore(0.1, 4, truncated=None), RawScore(0.2, 3, truncated=True)]
    assert [type(score.tokens) for score in found] == [int, int]


def test_scores_of_other_documents_are_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        raw_scores(Part("q", ["a"], [[0]]), Answer([], 1))
