from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from types import ModuleType

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
    garbage.search_rarely()
    assert gc.get_freeze_count() > there
    assert gc.get_threshold() == (10_000, *ordinary[1:])


class Loop:
    """What only a search frees."""

    def __init__(self) -> None:
        self.itself = self


def test_libraries_are_spared_once_they_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    garbage.spare_libraries()
    before = garbage.times_spared()
    garbage.spare_libraries()
    assert garbage.times_spared() == before

    monkeypatch.setitem(sys.modules, "a_library_of_the_test", ModuleType("a_library_of_the_test"))
    garbage.spare_libraries()
    assert garbage.times_spared() == before + 1


def test_a_search_finds_what_was_spared_since_it_was_made() -> None:
    first, made = Loop(), garbage.times_spared()
    garbage.spare_what_is_there()
    second, made_later = Loop(), garbage.times_spared()
    gone, gone_later = weakref.ref(first), weakref.ref(second)
    spared = gc.get_freeze_count()

    del first
    garbage.search(made_later)
    assert gone() is not None
    garbage.search(made)
    assert gone() is None
    assert gc.get_freeze_count() > spared / 2

    # the search spared what was there, as the other
    del second
    garbage.search(made_later)
    assert gone_later() is None
