from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.backends.remote.breaker import Breaker, BreakerOpen, BreakerState


@pytest.fixture
def seen() -> list[BreakerState]:
    return []


@pytest.fixture
def breaker(seen: list[BreakerState]) -> Breaker:
    return Breaker(failures=3, cooldown=30, changed=seen.append)


def seen_state(breaker: Breaker) -> str:
    return breaker.state.value


def fail(breaker: Breaker, times: int, now: float = 0) -> None:
    for _ in range(times):
        breaker.failed(breaker.admit(now), now)


def test_opens_after_consecutive_failures(breaker: Breaker, seen: list[BreakerState]) -> None:
    fail(breaker, 2)
    assert seen == []
    fail(breaker, 1)
    assert seen == [BreakerState.OPEN]
    for now, seconds in ((10, 20), (29.5, 0.5)):
        with pytest.raises(BreakerOpen, match=str(seconds)) as refused:
            breaker.admit(now)
        assert refused.value.seconds == seconds


def test_opens_for_half_a_minute_after_five_failures_unless_told_otherwise() -> None:
    breaker = Breaker()
    fail(breaker, 4)
    assert seen_state(breaker) == BreakerState.CLOSED
    fail(breaker, 1)
    with pytest.raises(BreakerOpen) as refused:
        breaker.admit(0)
    assert refused.value.seconds == 30
    quick = Breaker(failures=1, cooldown=7)
    fail(quick, 1)
    with pytest.raises(BreakerOpen) as refused:
        quick.admit(0)
    assert refused.value.seconds == 7


def test_a_success_between_failures_keeps_it_closed(breaker: Breaker) -> None:
    fail(breaker, 2)
    breaker.succeeded(breaker.admit(0))
    fail(breaker, 2)
    assert seen_state(breaker) == BreakerState.CLOSED


def test_one_call_probes_it_after_the_cooldown(breaker: Breaker, seen: list[BreakerState]) -> None:
    fail(breaker, 3)
    probe = breaker.admit(30)
    with pytest.raises(BreakerOpen) as refused:
        breaker.admit(31)
    assert refused.value.seconds == 1
    breaker.succeeded(probe)
    assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]
    breaker.admit(31)
    fail(breaker, 2)
    assert seen_state(breaker) == BreakerState.CLOSED


def test_a_permit_is_the_number_of_changes_so_far(breaker: Breaker) -> None:
    assert breaker.admit(0) == 0
    fail(breaker, 3)
    assert breaker.admit(30) == 2


def test_a_probe_that_fails_opens_it_again(breaker: Breaker) -> None:
    fail(breaker, 3)
    breaker.failed(breaker.admit(30), 32)
    with pytest.raises(BreakerOpen) as refused:
        breaker.admit(40)
    assert refused.value.seconds == 22


def test_a_cancelled_probe_leaves_the_next_call_to_probe_it(breaker: Breaker) -> None:
    fail(breaker, 3)
    breaker.dropped(breaker.admit(30))
    assert seen_state(breaker) == BreakerState.OPEN
    breaker.succeeded(breaker.admit(30))
    assert seen_state(breaker) == BreakerState.CLOSED


def test_a_cancelled_call_that_is_no_probe_changes_nothing(breaker: Breaker) -> None:
    early = breaker.admit(0)
    breaker.dropped(early)
    assert seen_state(breaker) == BreakerState.CLOSED
    fail(breaker, 3)
    first = breaker.admit(30)
    breaker.dropped(early)
    assert seen_state(breaker) == BreakerState.HALF_OPEN
    breaker.dropped(first)
    breaker.admit(30)
    breaker.succeeded(first)
    assert seen_state(breaker) == BreakerState.HALF_OPEN


def test_outcomes_from_before_a_change_say_nothing(breaker: Breaker) -> None:
    early = breaker.admit(0)
    fail(breaker, 3)
    breaker.succeeded(early)
    assert seen_state(breaker) == BreakerState.OPEN
    breaker.admit(30)
    breaker.failed(early, 30)
    assert seen_state(breaker) == BreakerState.HALF_OPEN


@given(st.lists(st.tuples(st.sampled_from(["succeeded", "failed", "dropped"]), st.integers(0, 40)), max_size=60))
def test_it_never_refuses_for_longer_than_the_cooldown(steps: list[tuple[str, int]]) -> None:
    breaker, now, refused = Breaker(failures=3, cooldown=30), 0, [1.0]
    for outcome, seconds in steps:
        now += seconds
        try:
            permit = breaker.admit(now)
        except BreakerOpen as error:
            refused.append(error.seconds)
            continue
        if outcome == "failed":
            breaker.failed(permit, now)
        else:
            getattr(breaker, outcome)(permit)
    breaker.admit(now + 30)
    assert min(refused) > 0
    assert max(refused) <= 30
