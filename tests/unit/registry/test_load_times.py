from __future__ import annotations

import pytest

from rerank.registry.load_times import LoadTimes

GIGABYTE = 10**9


def loaded(*loads: tuple[str, float, int]) -> LoadTimes:
    times = LoadTimes()
    for model, seconds, size in loads:
        times.begin(model, 100.0)
        times.loaded(model, size, 100.0 + seconds)
    return times


def test_a_load_is_measured_from_its_beginning_to_its_end() -> None:
    times = loaded(("a", 4.0, GIGABYTE))
    assert times.measured == {"a": 4.0}
    assert times.expected("a", 7 * GIGABYTE) == 4.0


def test_the_last_load_of_a_model_counts() -> None:
    assert loaded(("a", 4.0, GIGABYTE), ("a", 2.0, GIGABYTE)).measured == {"a": 2.0}


def test_a_model_that_was_never_loaded_takes_as_long_per_byte_as_the_others() -> None:
    times = loaded(("a", 4.0, GIGABYTE), ("b", 2.0, GIGABYTE), ("remote", 50.0, 0))
    assert times.expected("c", 2 * GIGABYTE) == 6.0
    assert times.expected("another remote", 0) == 0.0


def test_without_any_load_nothing_is_expected() -> None:
    assert LoadTimes().expected("a", GIGABYTE) is None
    assert loaded(("remote", 50.0, 0)).expected("a", GIGABYTE) is None


@pytest.mark.parametrize(("elapsed", "left"), [(0.0, 4.0), (1.0, 3.0), (4.0, 0.0), (5.0, 1.0), (9.0, 5.0)])
def test_what_is_left_of_a_load_falls_until_it_is_late(elapsed: float, left: float) -> None:
    times = loaded(("a", 4.0, GIGABYTE))
    times.begin("a", 200.0)
    assert times.remaining("a", GIGABYTE, asked=150.0, now=200.0 + elapsed) == left


def test_a_load_that_has_not_begun_is_left_whole() -> None:
    assert loaded(("a", 4.0, GIGABYTE)).remaining("a", GIGABYTE, asked=150.0, now=210.0) == 4.0


def test_a_load_of_unknown_duration_takes_as_long_again_as_its_requests_have_waited() -> None:
    times = LoadTimes()
    times.begin("a", 200.0)
    assert times.remaining("a", GIGABYTE, asked=195.0, now=203.0) == 8.0


def test_a_failed_load_begins_from_nothing() -> None:
    times = loaded(("a", 4.0, GIGABYTE))
    times.begin("a", 200.0)
    times.failed("a")
    times.failed("never begun")
    assert times.remaining("a", GIGABYTE, asked=150.0, now=203.0) == 4.0


def test_a_load_that_began_unseen_took_no_time() -> None:
    times = LoadTimes()
    times.loaded("a", GIGABYTE, 100.0)
    assert times.measured == {"a": 0.0}


def test_what_is_left_of_a_first_load_follows_from_its_bytes() -> None:
    times = loaded(("a", 4.0, GIGABYTE))
    times.begin("b", 200.0)
    assert times.remaining("b", 2 * GIGABYTE, asked=150.0, now=203.0) == 5.0
    assert times.remaining("a", 0, asked=150.0, now=203.0) == 4.0
