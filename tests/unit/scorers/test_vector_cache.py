from __future__ import annotations

import numpy
import pytest

from rerank.core import ScoringOptions
from rerank.runtimes.base import TokenIds
from rerank.runtimes.ids import Ids
from rerank.scorers.vector_cache import VectorCache, known_vectors

VECTOR = numpy.array([0.6, 0.8], numpy.float32)


def text(*ids: int, segment: int = 0) -> TokenIds:
    return TokenIds(Ids.of(ids), Ids.of([segment]) * len(ids))


def test_a_vector_is_found_by_the_tokens_it_was_computed_from() -> None:
    cache = VectorCache(10_000)
    cache.put(text(1, 2), VECTOR)

    assert cache.get(text(1, 2)) == pytest.approx(VECTOR)
    for other in (text(2, 1), text(1, 2, segment=1), text(1), text(1, 2, 0)):
        assert cache.get(other) is None


def test_what_is_kept_is_a_copy_that_nobody_can_change() -> None:
    cache, vector = VectorCache(10_000), VECTOR.copy()
    cache.put(text(1), vector)
    vector[0] = 9

    kept = cache.get(text(1))
    assert kept is not None
    assert kept == pytest.approx(VECTOR)
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 9


def test_those_that_were_not_used_for_longest_give_way() -> None:
    cache = VectorCache(3 * (VECTOR.nbytes + 400))
    for number in range(3):
        cache.put(text(number), VECTOR)
    cache.get(text(0))
    cache.put(text(3), VECTOR)

    assert [cache.get(text(number)) is not None for number in range(4)] == [True, False, True, True]


def test_what_is_larger_than_all_room_is_not_kept() -> None:
    cache = VectorCache(1000)
    cache.put(text(1), VECTOR)
    cache.put(text(2), numpy.zeros(1000, numpy.float32))

    assert cache.get(text(1)) is not None
    assert cache.get(text(2)) is None


@pytest.mark.parametrize(
    ("cache", "options"),
    [(None, ScoringOptions()), (VectorCache(10_000), ScoringOptions(cached=False))],
    ids=["no cache", "not wanted"],
)
def test_nothing_is_known_without_a_cache_or_where_it_is_not_wanted(
    cache: VectorCache | None, options: ScoringOptions
) -> None:
    if cache:
        cache.put(text(1), VECTOR)
    assert known_vectors(cache, [text(1), text(2)], options) == [None, None]
