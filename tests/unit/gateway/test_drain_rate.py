from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rerank.gateway.drain_rate import DrainRate


def test_a_few_requests_say_nothing() -> None:
    rate = DrainRate()
    rate.note(0.0, 1.0, 10)
    rate.note(1.0, 2.0, 10)
    assert rate.per_second(2.0) is None


def test_requests_one_after_another() -> None:
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
