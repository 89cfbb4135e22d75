from __future__ import annotations

import asyncio
import threading

import pytest

from rerank.backends.tokenisers import Tokenisers
from rerank.errors import InvalidRequest
from rerank.scorers.base import TURN_CHARACTERS, Part, Reading

WAIT = 10.0


class Texts:
    """Texts of so many parts, each a turn; every part waits until it may be read."""

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.read = 0
        self.begun = threading.Event()
        self.gate = threading.Event()

    def reading(self) -> Reading[int]:
        for _ in range(self.parts):
            yield Part(TURN_CHARACTERS)
            self.begun.set()
            assert self.gate.wait(WAIT)
            self.read += 1
        return self.read


async def begun(texts: Texts) -> None:
    assert await asyncio.to_thread(texts.begun.wait, WAIT)


async def test_gives_what_comes_of_reading() -> None:
    texts = Texts(3)
    texts.gate.set()
    with Tokenisers(1) as tokenisers:
        assert await tokenisers.run(texts.reading(), 1, 10) == 3


async def test_a_short_request_of_another_does_not_wait_for_the_end_of_a_long_one() -> None:
    long, short = Texts(1000), Texts(1)
    short.gate.set()
    with Tokenisers(1) as tokenisers:
        running = asyncio.ensure_future(tokenisers.run(long.reading(), 1, 1_000_000, "flood"))
        await begun(long)
        waiting = asyncio.ensure_future(tokenisers.run(short.reading(), 1, 10, "other"))
        await asyncio.sleep(0)
        long.gate.set()
        assert await waiting == 1
        assert long.read < 1000
        assert await running == 1000


async def test_who_leaves_is_read_no_further() -> None:
    texts, next_one = Texts(1000), Texts(1)
    next_one.gate.set()
    with Tokenisers(1) as tokenisers:
        running = asyncio.ensure_future(tokenisers.run(texts.reading(), 1, 1_000_000))
        await begun(texts)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        texts.gate.set()
        # the thread is free again
        assert await tokenisers.run(next_one.reading(), 1, 10) == 1
    assert texts.read == 1


async def test_who_leaves_while_waiting_takes_no_thread() -> None:
    first, gone, last = Texts(1), Texts(1), Texts(1)
    for texts in (gone, last):
        texts.gate.set()
    with Tokenisers(1) as tokenisers:
        running = asyncio.ensure_future(tokenisers.run(first.reading(), 1, 10))
        await begun(first)
        leaving = asyncio.ensure_future(tokenisers.run(gone.reading(), 1, 10))
        await asyncio.sleep(0)
        leaving.cancel()
        first.gate.set()
        assert await running == 1
        assert await tokenisers.run(last.reading(), 1, 10) == 1
    assert gone.read == 0


async def test_who_leaves_just_when_its_turn_comes_gives_the_thread_back() -> None:
    gone, last = Texts(1), Texts(1)
    for texts in (gone, last):
        texts.gate.set()
    with Tokenisers(1) as tokenisers:
        leaving = asyncio.ensure_future(tokenisers.run(gone.reading(), 1, 10))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert await tokenisers.run(last.reading(), 1, 10) == 1


async def test_an_error_is_the_callers_and_frees_the_thread() -> None:
    def wrong() -> Reading[int]:
        yield Part(1)
        raise InvalidRequest("too long")

    texts = Texts(1)
    texts.gate.set()
    with Tokenisers(1) as tokenisers:
        with pytest.raises(InvalidRequest):
            await tokenisers.run(wrong(), 1, 10)
        assert await tokenisers.run(texts.reading(), 1, 10) == 1


class Noting:
    """Notes the thread on which each part is read, and that of what comes before."""

    def __init__(self, *parts: Part) -> None:
        self._parts = parts
        self.threads: list[str] = []

    def reading(self) -> Reading[int]:
        for part in self._parts:
            self.threads.append(threading.current_thread().name.split("_")[0])
            yield part
        self.threads.append(threading.current_thread().name.split("_")[0])
        return len(self._parts)


@pytest.mark.parametrize(
    ("parts", "number", "characters", "on_the_loop"),
    [
        ((), 1, 10, 1),
        ((Part(30), Part(200)), 20, 16_000, 3),
        ((Part(30), Part(1900), Part(100)), 20, 16_000, 3),
        ((Part(30), Part(20_000)), 20, 20_000, 2),
        ((Part(30), Part(30, quick=False), Part(30)), 20, 16_000, 2),
        ((Part(10),), 300, 300, 0),
        ((Part(10),), 20, 1_000_000, 0),
    ],
    ids=[
        "nothing to read", "short", "short parts until they are long", "a long part", "a part that may take long",
        "many texts", "long texts",
    ],
)  # fmt: skip
async def test_what_takes_little_time_is_read_on_the_loops_thread(
    parts: tuple[Part, ...], number: int, characters: int, on_the_loop: int
) -> None:
    texts = Noting(*parts)
    with Tokenisers(1) as tokenisers:
        assert await tokenisers.run(texts.reading(), number, characters) == len(parts)
    steps = len(parts) + 1
    assert texts.threads == ["MainThread"] * on_the_loop + ["tokenise"] * (steps - on_the_loop)
