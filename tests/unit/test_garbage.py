from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from rerank import garbage
from rerank.garbage import paused


def test_the_search_pauses_until_the_last_of_several_pauses_ends() -> None:
    garbage.pause()
    with paused():
        garbage.resume()
        assert not gc.isenabled()

    assert gc.isenabled()


def test_a_pause_ends_with_an_error() -> None:
    try:
        with paused():
            raise ValueError
    except ValueError:
        assert gc.isenabled()


@pytest.fixture
def ordinary() -> Iterator[tuple[int, int, int]]:
    """How rarely Python searches, which the test may change."""
    thresholds = gc.get_threshold()
    yield thresholds
    gc.set_threshold(*thresholds)


def test_a_server_searches_rarely_and_not_among_what_was_there(ordinary: tuple[int, int, int]) -> None:
    there = gc.get_freeze_count()
    garbage.spare_what_is_there()
    assert gc.get_freeze_count() > there
    assert gc.get_threshold() == (10_000, *ordinary[1:])
