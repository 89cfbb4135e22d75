from __future__ import annotations

import sys

import pytest

from rerank.scheduling.memory import Lately, LearntLimits

from .scorers import Echo


def test_what_is_costly_to_read_is_read_twice_a_second_at_most() -> None:
    now = [10.0]
    given = iter([5, 7, 9])
    free = Lately(lambda: next(given), lambda: now[0])

    assert [free(), free()] == [5, 5]
    now[0] = 10.4
    assert free() == 5
    now[0] = 10.6
    assert [free(), free()] == [7, 7]
    now[0] = 11.2
    assert free() == 9


def test_the_tokens_of_a_quick_batch_follow_from_those_that_ran() -> None:
    limits, scorer, other = LearntLimits(quick_seconds=0.02), Echo(), Echo()
    assert limits.quick_tokens(scorer) == 0

    limits.note(scorer, tokens=1000, seconds=0.01)
    assert limits.quick_tokens(scorer) == pytest.approx(2000, abs=1)
    assert limits.quick_tokens(other) == 0

    for _ in range(20):
        limits.note(scorer, tokens=1000, seconds=0.1)
    assert limits.quick_tokens(scorer) == pytest.approx(200, abs=5)


def test_without_a_short_time_no_batch_is_quick() -> None:
    limits, scorer = LearntLimits(), Echo()
    limits.note(scorer, tokens=1000, seconds=0.01)

    assert limits.quick_tokens(scorer) == 0


def test_the_tokens_of_a_time_follow_from_batches_that_ran() -> None:
    limits, scorer = LearntLimits(), Echo()
    assert limits.tokens_in(scorer, 1.0) is None

    limits.note(scorer, tokens=1000, seconds=0.01)
    assert limits.tokens_in(scorer, 0.02) == pytest.approx(2000, abs=1)
    assert limits.tokens_in(scorer, -1.0) == 0
    assert limits.tokens_in(scorer, 1e308) == sys.maxsize


def test_a_batch_that_was_too_large_halves_the_limit_of_its_model() -> None:
    limits, scorer, other = LearntLimits(), Echo(), Echo()
    assert limits.of(scorer) is None

    assert limits.learn(scorer, tokens=1001) == 500
    assert (limits.of(scorer), limits.of(other)) == (500, None)


def test_a_limit_never_rises_and_is_at_least_one_token() -> None:
    limits, scorer = LearntLimits(), Echo()
    assert [limits.learn(scorer, tokens) for tokens in (100, 300, 20, 1, 0)] == [50, 50, 10, 1, 1]


def test_the_latest_batches_count_most() -> None:
    limits, scorer = LearntLimits(quick_seconds=1.0), Echo()
    limits.note(scorer, tokens=100, seconds=1.0)
    limits.note(scorer, tokens=100, seconds=2.0)
    # 10 ms and a fifth of the way to 20 ms
    assert limits.tokens_in(scorer, 1.2) == pytest.approx(100, abs=1)


def test_a_batch_without_tokens_is_noted_as_of_one() -> None:
    limits, scorer = LearntLimits(), Echo()
    limits.note(scorer, tokens=0, seconds=0.5)
    assert limits.tokens_in(scorer, 1.0) == 2
