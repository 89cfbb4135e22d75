from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from rerank.access.rate_limits import RateLimits
from rerank.core import Caller
from rerank.errors import DeadlineExceeded, InvalidRequest, RateLimited
from tests.support.clock import Clock

MINUTE = 60.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(1_000_000 * MINUTE)
    for module in ("limits.aio.storage.memory", "limits.aio.strategies", "rerank.access.rate_limits"):
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(time=clock))
    return clock


async def spend(limits: RateLimits, caller: Caller, tokens: int, estimate: int | None = None) -> None:
    async with limits.spend(caller, tokens if estimate is None else estimate) as spending:
        spending.tokens = tokens


async def test_so_many_requests_a_minute_and_no_more(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", requests_per_minute=3)
    for _ in range(3):
        await spend(limits, caller, 10)
    with pytest.raises(RateLimited) as refusal:
        await spend(limits, caller, 10)
    assert refusal.value.message == "The key chat has used up its 3 requests a minute. Try again later."
    assert refusal.value.retry_after == 60.0
    clock.now += 2 * MINUTE
    await spend(limits, caller, 10)


@pytest.mark.parametrize("most", [1, 2, 5])
async def test_within_any_minute_there_are_so_many_requests_and_no_more(clock: Clock, most: int) -> None:
    limits, caller = RateLimits(), Caller("chat", requests_per_minute=most)
    let_through: list[float] = []
    told, true = [], []
    for _ in range(600):
        clock.now += 0.7
        try:
            await spend(limits, caller, 10)
            let_through.append(clock.now)
        except RateLimited as refusal:
            told.append(refusal.retry_after)
            true.append(max(let_through[-most] + MINUTE - clock.now, 1.0))
    assert told == pytest.approx(true)
    assert len(let_through) == 7 * most
    assert all(later - earlier > MINUTE for earlier, later in zip(let_through, let_through[most:], strict=False))


async def test_tokens_are_those_that_were_read(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", tokens_per_minute=100)
    await spend(limits, caller, 40, estimate=90)
    await spend(limits, caller, 50, estimate=60)
    with pytest.raises(RateLimited) as refusal:
        await spend(limits, caller, 1, estimate=20)
    assert refusal.value.message == "The key chat has used up its 100 tokens a minute. Try again later."
    assert refusal.value.retry_after == 6.0
    await spend(limits, caller, 500, estimate=10)
    with pytest.raises(RateLimited):
        await spend(limits, caller, 1)


async def test_two_at_once_cannot_use_the_same_tokens(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", tokens_per_minute=100)
    async with limits.spend(caller, 60) as first:
        with pytest.raises(RateLimited):
            await spend(limits, caller, 50)
        await spend(limits, caller, 40)
        first.tokens = 60
    with pytest.raises(RateLimited):
        await spend(limits, caller, 1)


async def test_what_was_not_answered_costs_no_tokens(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", tokens_per_minute=100)
    for _ in range(5):
        with pytest.raises(KeyError):
            async with limits.spend(caller, 100):
                raise KeyError
    await spend(limits, caller, 100)


async def test_what_would_be_refused_is_told_without_being_counted(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", requests_per_minute=2, tokens_per_minute=100)
    for _ in range(5):
        await limits.check(caller, 100)
    with pytest.raises(InvalidRequest, match="holds about 101 tokens"):
        await limits.check(caller, 101)
    async with limits.spend(caller, 60):
        await limits.check(caller, 40)
        with pytest.raises(RateLimited, match="100 tokens") as refusal:
            await limits.check(caller, 41)
        assert refusal.value.retry_after == 1.0
    await limits.check(caller, 100)
    await spend(limits, caller, 1)
    with pytest.raises(RateLimited, match="2 requests"):
        await limits.check(caller, 1)


async def test_who_leaves_pays(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", tokens_per_minute=100)

    async def stay() -> None:
        async with limits.spend(caller, 100):
            await asyncio.Event().wait()

    leaving = asyncio.create_task(stay())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    with pytest.raises(RateLimited):
        await spend(limits, caller, 1)


async def test_a_request_that_devices_worked_for_until_its_deadline_pays(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", tokens_per_minute=100)
    with pytest.raises(DeadlineExceeded):
        async with limits.spend(caller, 100):
            raise DeadlineExceeded("too late")
    with pytest.raises(RateLimited):
        await spend(limits, caller, 1)


async def test_a_request_that_no_minute_has_tokens_for_is_wrong_not_early(clock: Clock) -> None:
    caller = Caller("chat", tokens_per_minute=100)
    with pytest.raises(InvalidRequest, match=r"holds about 101 tokens; .* use 100 a minute\. Send it"):
        await spend(RateLimits(), caller, 101)


async def test_keys_do_not_share_an_allowance(clock: Clock) -> None:
    limits = RateLimits()
    for name in ("a", "b"):
        await spend(limits, Caller(name, requests_per_minute=1, tokens_per_minute=10), 10)


async def test_without_limits_nothing_is_counted() -> None:
    limits = RateLimits()
    for _ in range(1000):
        await spend(limits, Caller(), 10**9)


async def test_what_is_left_of_a_minute_is_told(clock: Clock) -> None:
    limits, caller = RateLimits(), Caller("chat", requests_per_minute=3, tokens_per_minute=100)
    assert await limits.left(caller) == (3, 100)
    await spend(limits, caller, 10)
    async with limits.spend(caller, 25):
        # an estimate is held back until the answer
        assert await limits.left(caller) == (1, 65)
    assert await limits.left(Caller("free")) == (None, None)
