from __future__ import annotations

import pytest

from rerank.backends.remote import retries
from rerank.backends.remote.retries import ATTEMPTS, CallFailed, parse_retry_after, retrying
from rerank.errors import UpstreamFailed
from tests.support.clock import Clock


class Calls:
    """Fails so often, then succeeds; sleeps by moving the clock."""

    def __init__(self, *failures: CallFailed) -> None:
        self.clock = Clock()
        self.slept: list[float] = []
        self._failures = list(failures)
        self.made = 0

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.now += seconds

    async def call(self) -> str:
        self.made += 1
        if self._failures:
            raise self._failures.pop(0)
        return "scores"

    async def run(self, ends: float = 1000) -> str:
        result: str = await retrying(ends, self.clock, self.sleep)(self.call)
        return result


def failed(*, again: bool = True, after: float | None = None) -> CallFailed:
    return CallFailed(UpstreamFailed("no"), again=again, after=after)


def test_a_failure_says_what_its_error_says_and_is_final_unless_told_otherwise() -> None:
    error = UpstreamFailed("no")
    found = CallFailed(error)
    assert (str(found), found.error, found.again, found.after, found.healthy) == ("no", error, False, None, False)
    assert CallFailed(error, healthy=True).healthy is True


async def test_a_call_that_fails_is_made_again_after_a_random_wait() -> None:
    calls = Calls(failed(), failed())
    assert await calls.run() == "scores"
    assert (calls.made, len(calls.slept)) == (3, 2)
    assert all(0 <= seconds <= 8 for seconds in calls.slept)


async def test_some_attempts_are_enough() -> None:
    calls = Calls(*[failed() for _ in range(ATTEMPTS + 1)])
    with pytest.raises(CallFailed):
        await calls.run()
    assert calls.made == ATTEMPTS


async def test_a_failure_that_would_repeat_is_final() -> None:
    calls = Calls(failed(again=False))
    with pytest.raises(CallFailed):
        await calls.run()
    assert calls.made == 1


async def test_retry_after_is_honoured() -> None:
    calls = Calls(failed(after=5))
    assert await calls.run() == "scores"
    assert 5 <= calls.slept[0] <= 5.5


@pytest.mark.parametrize(("random_wait", "slept"), [(0.2, 5.2), (100.0, 5.5)])
async def test_a_wished_wait_lasts_a_tenth_longer_at_most(
    random_wait: float, slept: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "_exponential", lambda _: random_wait)
    calls = Calls(failed(after=5))
    await calls.run()
    assert calls.slept == [slept]


async def test_no_retry_begins_at_the_end_or_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "_exponential", lambda _: 0.0)
    calls = Calls(failed(after=5))
    with pytest.raises(CallFailed):
        await calls.run(ends=5)
    assert (calls.made, calls.slept) == (1, [])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7),
        (" 7 ", 7),
        ("Thu, 01 Jan 1970 00:01:50 GMT", 10),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("-7", None),
        ("9" * 60, 24 * 3600),
        ("9" * 64, 24 * 3600),
        ("9" * 65, None),
        ("²", None),
        ("nan", None),
    ],
)
def test_retry_after_has_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, lambda: 100.0) == seconds
