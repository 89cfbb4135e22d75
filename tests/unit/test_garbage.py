from __future__ import annotations

import gc

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
