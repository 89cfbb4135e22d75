from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.core import UNSCORED, RawScore
from rerank.gateway.cache.flights import Flights


def keys_of(text: str) -> list[bytes]:
    return [letter.encode() for letter in text]


def score_of(key: bytes) -> RawScore:
    return RawScore(float(key[0]), 1)


class Device:
    """Scores when the gate opens; notes every call."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        self._error = error

    async def __call__(self, keys: Sequence[bytes]) -> list[RawScore]:
        self.calls.append(b"".join(keys).decode())
        await self.gate.wait()
        if self._error:
            raise self._error
        return [score_of(key) for key in keys]


async def ask(flights: Flights, device: Device, text: str, caller: str = "", until: float | None = None) -> str:
    """The keys that were scored, in order."""
    keys = keys_of(text)
    scores = await flights.score(caller, keys, device, until)
    assert all(scores[key] in (score_of(key), UNSCORED) for key in keys)
    return "".join(key.decode() for key in keys if scores[key].scored)


async def begin(flights: Flights, device: Device, text: str, caller: str = "") -> asyncio.Task[str]:
    """A request that computes something, or waits for another."""
    task = asyncio.create_task(ask(flights, device, text, caller))
    await asyncio.sleep(0)
    return task


async def test_pairs_under_way_are_waited_for_and_the_others_computed() -> None:
    flights, first, second = Flights(), Device(), Device()
    owner = await begin(flights, first, "abc")
    waiter = await begin(flights, second, "bcd")
    assert second.calls == ["d"]
    for device in (second, first):
        device.gate.set()
    assert [await owner, await waiter] == ["abc", "bcd"]
    assert (first.calls, second.calls) == (["abc"], ["d"])


async def test_two_requests_that_wait_for_each_other_both_end() -> None:
    flights, first, second = Flights(), Device(), Device()
    tasks = [await begin(flights, first, "ab"), await begin(flights, second, "bc")]
    tasks.append(asyncio.create_task(ask(flights, first, "ca")))
    for device in (first, second):
        device.gate.set()
    assert await asyncio.gather(*tasks) == ["ab", "bc", "ca"]


async def test_a_waiter_computes_what_the_owner_could_not() -> None:
    flights, broken, device = Flights(), Device(ValueError("broken")), Device()
    device.gate.set()
    owner = await begin(flights, broken, "ab")
    waiter = await begin(flights, device, "ab")
    broken.gate.set()
    assert await waiter == "ab"
    with pytest.raises(ValueError, match="broken"):
        await owner


async def test_a_waiter_is_not_cancelled_with_the_owner() -> None:
    flights, slow, device = Flights(), Device(), Device()
    device.gate.set()
    owner = await begin(flights, slow, "ab")
    waiter = await begin(flights, device, "ab")
    owner.cancel()
    assert await waiter == "ab"
    assert device.calls == ["ab"]


async def test_an_owner_is_not_cancelled_with_a_waiter() -> None:
    flights, device = Flights(), Device()
    owner = await begin(flights, device, "ab")
    waiter = await begin(flights, device, "ab")
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    device.gate.set()
    assert await owner == "ab"


async def test_a_waiter_whose_budget_is_over_does_not_wait() -> None:
    flights, slow, device = Flights(), Device(), Device()
    device.gate.set()
    owner = await begin(flights, slow, "ab")
    assert await ask(flights, device, "ab", until=time.monotonic()) == "ab"
    assert device.calls == ["ab"]
    slow.gate.set()
    assert await owner == "ab"


async def test_what_the_owner_had_no_time_for_the_waiter_computes() -> None:
    async def hurried(keys: Sequence[bytes]) -> list[RawScore]:
        await asyncio.sleep(0)
        return [score_of(keys[0]), *[UNSCORED] * (len(keys) - 1)]

    flights, device = Flights(), Device()
    device.gate.set()
    owner = asyncio.create_task(flights.score("", keys_of("abc"), hurried))
    await asyncio.sleep(0)
    assert await ask(flights, device, "abc") == "abc"
    assert device.calls == ["bc"]
    assert not (await owner)[b"b"].scored


async def test_a_caller_does_not_wait_for_the_turn_of_another() -> None:
    flights, device = Flights(), Device()
    tasks = [await begin(flights, device, "ab", caller) for caller in ("one", "two", "one")]
    device.gate.set()
    await asyncio.gather(*tasks)
    assert device.calls == ["ab", "ab"]


async def test_a_small_request_does_not_wait_for_a_much_larger_one() -> None:
    flights, device = Flights(), Device()
    tasks = [await begin(flights, device, text) for text in ("abcde", "ab", "abc")]
    device.gate.set()
    await asyncio.gather(*tasks)
    assert device.calls == ["abcde", "ab"]


async def test_a_request_waits_for_one_twice_its_size() -> None:
    flights, device = Flights(), Device()
    tasks = [await begin(flights, device, text) for text in ("abcd", "ab")]
    device.gate.set()
    await asyncio.gather(*tasks)
    assert device.calls == ["abcd"]


async def test_too_few_scores_are_an_error_whether_there_was_a_wait_or_not() -> None:
    async def short(keys: Sequence[bytes]) -> list[RawScore]:
        return [score_of(keys[0])]

    flights, slow = Flights(), Device()
    owner = await begin(flights, slow, "ab")
    for keys in ("ab", "cd"):
        with pytest.raises(ValueError, match="shorter"):
            await flights.score("", keys_of(keys), short, until=time.monotonic())
    slow.gate.set()
    assert await owner == "ab"


@settings(deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 12))
async def test_every_request_ends_with_its_own_scores_however_others_end(chance: random.Random, requests: int) -> None:
    flights, running = Flights(), Counter[bytes]()

    async def compute(keys: Sequence[bytes]) -> list[RawScore]:
        running.update(keys)
        try:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.2:
                raise ValueError("broken")
            return [UNSCORED if chance.random() < 0.1 else score_of(key) for key in keys]
        finally:
            running.subtract(keys)

    async def one() -> None:
        for _ in range(chance.randrange(3)):
            await asyncio.sleep(0)
        keys = keys_of("".join(chance.sample("abcdef", chance.randint(1, 6))))
        scores = await flights.score(chance.choice("xy"), keys, compute)
        assert set(scores) == set(keys)
        assert all(scores[key] in (score_of(key), UNSCORED) for key in keys)

    tasks = [asyncio.create_task(one()) for _ in range(requests)]
    for task in tasks:
        await asyncio.sleep(0)
        if chance.random() < 0.2:
            task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        assert outcome is None or isinstance(outcome, ValueError | asyncio.CancelledError), outcome
    assert not flights._of
    assert not +running
