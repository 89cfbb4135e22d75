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

    def state() -> tuple[bool, bool]:
        return pause.lasts, pause.follows_failure

    assert state() == (False, False)
    pause.failed()
    assert state() == (True, True)
    clock.now = 1
    assert state() == (False, True)
    pause.failed()
    pause.worked()
    assert state() == (False, False)


def test_failures_of_calls_that_were_under_way_do_not_prolong_it() -> None:
    clock = Clock()
    pause = Pause(clock)
    for _ in range(20):
        pause.failed()
    clock.now = 1
    assert not pause.lasts
