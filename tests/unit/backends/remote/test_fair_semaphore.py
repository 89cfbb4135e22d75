from __future__ import annotations

import asyncio

import pytest

from rerank.backends.remote.fair_semaphore import FairSemaphore


class Calls:
    """Calls that wait for the one place, and the order in which they got it."""

    def __init__(self) -> None:
        self.places = FairSemaphore(1)
        self.order: list[str] = []

    async def begin(self, name: str) -> None:
        await self.places.acquire(name[0])
        self.order.append(name)

    async def waiting(self, *names: str) -> list[asyncio.Task[None]]:
        """A call of each name, begun in this order; its first letter is the caller's name."""
        tasks = [asyncio.create_task(self.begin(name)) for name in names]
        await asyncio.sleep(0)
        return tasks

    async def let_in(self, calls: int) -> None:
        for _ in range(calls):
            self.places.release()
            await asyncio.sleep(0)


@pytest.fixture
async def calls() -> Calls:
    calls = Calls()
    await calls.places.acquire("before")
    return calls


async def test_no_more_than_there_are_places_are_under_way() -> None:
    calls = Calls()
    await calls.waiting("a1", "a2")
    assert (calls.order, calls.places.free) == (["a1"], 0)
    await calls.let_in(2)
    assert (calls.order, calls.places.free) == (["a1", "a2"], 1)


async def test_callers_take_turns(calls: Calls) -> None:
    await calls.waiting("a1", "a2", "a3", "b1", "c1", "b2")
    await calls.let_in(6)
    assert calls.order == ["a1", "b1", "c1", "a2", "b2", "a3"]


async def test_a_place_that_becomes_free_is_taken_by_none_that_comes_later(calls: Calls) -> None:
    await calls.waiting("a1")
    calls.places.release()
    await calls.waiting("b1")
    assert calls.order == ["a1"]


async def test_a_call_that_is_cancelled_takes_no_turn(calls: Calls) -> None:
    first, *_ = await calls.waiting("a1", "a2", "b1")
    first.cancel()
    await calls.let_in(3)
    assert (calls.order, calls.places.free) == (["a2", "b1"], 1)


async def test_a_place_given_to_a_call_that_is_cancelled_is_given_on(calls: Calls) -> None:
    first, _ = await calls.waiting("a1", "b1")
    calls.places.release()
    first.cancel()
    await asyncio.wait([first])
    await asyncio.sleep(0)
    assert calls.order == ["b1"]
