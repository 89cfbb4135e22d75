from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.gateway.drain_rate import DrainRate


def test_a_few_requests_say_nothing() -> None:
    rate = DrainRate()
    rate.note(0.0, 1.0, 10)
    rate.note(1.0, 2.0, 10)
    assert rate.per_second(2.0) is None


def test_requests_one_after_another_give_the_rate_of_each() -> None:
    rate = DrainRate()
    for moment in range(4):
        rate.note(moment, moment + 1.0, 10)
    assert rate.per_second(4.0) == 10.0


def test_requests_side_by_side_share_their_time() -> None:
    rate = DrainRate()
    for _ in range(4):
        rate.note(0.0, 2.0, 10)
    assert rate.per_second(2.0) == 20.0


def test_time_without_work_does_not_count() -> None:
    rate = DrainRate()
    for moment in (0, 10, 20):
        rate.note(moment, moment + 1.0, 10)
    assert rate.per_second(21.0) == 10.0


def test_what_is_long_ago_is_forgotten() -> None:
    rate = DrainRate()
    for _ in range(5):
        rate.note(0.0, 1.0, 10)
    assert rate.per_second(31.0) == 50.0
    assert rate.per_second(31.5) is None


SPANS = st.tuples(st.floats(0, 10), st.floats(0.01, 10), st.integers(1, 100))


@given(st.lists(SPANS, min_size=3, max_size=20))
def test_the_rate_is_never_less_than_if_all_came_one_after_another(spans: list[tuple[float, float, int]]) -> None:
    rate = DrainRate()
    for began, seconds, documents in sorted(spans, key=lambda span: span[0] + span[1]):
        rate.note(began, began + seconds, documents)
    found = rate.per_second(20.0)
    documents = sum(span[2] for span in spans)
    assert found is not None
    assert found >= documents / sum(span[1] for span in spans) * 0.999
    last, first = max(began + seconds for began, seconds, _ in spans), min(began for began, *_ in spans)
    assert found >= documents / (last - first) * 0.999


def test_work_that_took_no_time_has_no_rate() -> None:
    rate = DrainRate()
    for _ in range(3):
        rate.note(1.0, 1.0, 5)
    assert rate.per_second(1.0) is None


def test_the_latest_rate_outlasts_the_half_minute() -> None:
    rate = DrainRate()
    assert rate.latest(0.0) is None
    for moment in range(4):
        rate.note(moment, moment + 1.0, 10)
    assert (rate.per_second(1000.0), rate.latest(1000.0)) == (None, 10.0)
    rate.note(1999.0, 2000.0, 70)
    assert rate.latest(2000.0) == 10.0
    rate.note(2000.0, 2001.0, 70)
    rate.note(2001.0, 2002.0, 70)
    assert rate.latest(2002.0) == 70.0


@given(st.lists(SPANS, min_size=3, max_size=20))
def test_the_rate_is_all_tokens_by_the_time_that_a_request_was_in_flight(spans: list[tuple[float, float, int]]) -> None:
    rate, busy, until = DrainRate(), 0.0, 0.0
    for began, seconds, tokens in sorted(spans, key=lambda span: span[0] + span[1]):
        rate.note(began, began + seconds, tokens)
    for began, seconds, _ in sorted(spans):
        busy += max(0.0, began + seconds - max(began, until))
        until = max(until, began + seconds)
    assert rate.per_second(20.0) == pytest.approx(sum(span[2] for span in spans) / busy)


def test_of_many_requests_one_after_another_the_last_ones_count() -> None:
    rate = DrainRate()
    for number in range(6000):
        rate.note(number / 1000, (number + 0.5) / 1000, 1 if number < 1000 else 2)
    assert rate.per_second(6.0) == pytest.approx(2 / 0.0005)
