from __future__ import annotations

from rerank.shared_state.pause import Pause
from tests.support.clock import Clock


def test_each_failure_in_a_row_makes_it_longer_up_to_half_a_minute() -> None:
    clock = Clock()
    pause = Pause(clock)
    lengths = []
    for _ in range(7):
        pause.failed()
        began = clock.now
        while pause.lasts:
            clock.now += 0.5
        lengths.append(clock.now - began)
    assert lengths == [1, 2, 4, 8, 16, 30, 30]


def test_a_success_ends_it() -> None:
    clock = Clock()
    pause = Pause(clock)
    pause.failed()
    assert pause.worked()
    assert not pause.lasts
    assert not pause.worked()


def test_only_the_first_failure_in_a_row_is_news() -> None:
    clock = Clock()
    pause = Pause(clock)
    assert pause.failed()
    assert not pause.failed()
    clock.now = 1
    assert not pause.failed()
    pause.worked()
    assert pause.failed()


def test_failures_of_calls_that_were_under_way_do_not_prolong_it() -> None:
    clock = Clock()
    pause = Pause(clock)
    for _ in range(20):
        pause.failed()
    clock.now = 1
    assert not pause.lasts
