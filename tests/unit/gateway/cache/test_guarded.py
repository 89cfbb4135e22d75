from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence

import pytest

from rerank.gateway.cache.guarded import GuardedStore
from rerank.telemetry.events import CacheFailed, Event
from tests.support.clock import Clock
from tests.support.skipping_loop import seconds_of

PATIENCE = 0.05


class Store:
    """Keeps scores unless it has an error or hangs; counts calls."""

    name = "fake"

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.error: Exception | None = None
        self.hangs = False
        self.calls = 0
        self.closed = False

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        await self._act()
        return [self.kept.get(key) for key in keys]

    async def put(self, scores: Mapping[bytes, bytes]) -> None:
        await self._act()
        self.kept |= scores

    async def close(self) -> None:
        self.closed = True
        if self.hangs:
            await asyncio.Event().wait()

    async def _act(self) -> None:
        self.calls += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error


class Guarded:
    """A guarded store with a clock, and what it reported."""

    def __init__(self) -> None:
        self.store, self.clock = Store(), Clock()
        self.events: list[Event] = []
        self.guarded = GuardedStore(self.store, "at home", PATIENCE, self.events.append, self.clock)

    async def get(self, *keys: bytes) -> Sequence[bytes | None]:
        return await self.guarded.get(keys)

    async def put(self, key: bytes, score: bytes) -> None:
        await self.guarded.put({key: score})


async def settle() -> None:
    """Let background writes run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_scores_are_written_in_the_background_and_read() -> None:
    made = Guarded()
    await made.put(b"a", b"1")
    assert made.store.calls == 0
    await settle()
    assert await made.get(b"a", b"b") == [b"1", None]
    assert not made.events


@pytest.mark.parametrize("documents", [1, 5000])
def test_a_store_that_never_answers_delays_a_lookup_by_its_patience_at_most(documents: int) -> None:
    made = Guarded()
    made.store.hangs = True
    found, seconds = seconds_of(lambda: made.get(*[bytes([number % 256]) for number in range(documents)]))
    assert found == [None] * documents
    assert seconds == pytest.approx(PATIENCE)
    assert made.events == [CacheFailed("fake", "read")]


def test_lookups_in_the_pause_after_a_failure_do_not_wait() -> None:
    made = Guarded()
    made.store.hangs = True
    seconds_of(lambda: made.get(b"a"))
    assert seconds_of(lambda: made.get(b"a")) == ([None], 0)
    assert made.store.calls == 1


def test_a_store_that_never_takes_scores_delays_nothing() -> None:
    made = Guarded()
    made.store.hangs = True
    assert seconds_of(lambda: made.put(b"a", b"1")) == (None, 0)


async def test_a_failure_is_an_answer_of_nothing_and_after_the_pause_it_is_tried_again() -> None:
    made = Guarded()
    made.store.kept[b"a"] = b"1"
    made.store.error = ConnectionError("gone")
    assert await made.get(b"a") == [None]
    made.store.error = None
    assert await made.get(b"a") == [None]
    made.clock.now = 1
    assert await made.get(b"a") == [b"1"]


async def test_an_answer_of_the_wrong_length_is_a_failure() -> None:
    class Short(Store):
        async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
            return []

    assert list(await GuardedStore(Short(), "at home", PATIENCE).get([b"a"])) == [None]


async def test_the_log_says_once_that_it_fails_and_once_that_it_works_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    made = Guarded()
    made.store.error = ConnectionError("refused")
    for now in range(10):
        made.clock.now = now
        await made.get(b"a")
    made.store.error = None
    for now in range(100, 110):
        made.clock.now = now
        await made.get(b"a")
    assert caplog.messages == [
        "the cache at home cannot be read: refused",
        "no longer: the cache at home cannot be read",
    ]


async def test_nothing_is_written_while_it_fails() -> None:
    made = Guarded()
    made.store.error = ConnectionError("full")
    for number in range(10):
        await made.put(bytes([number]), b"1")
    await settle()
    assert (made.store.calls, made.events) == (1, [CacheFailed("fake", "write")])
    made.store.error = None
    assert await made.get(b"a") == [None]
    assert made.store.calls == 2


async def test_scores_that_wait_to_be_written_are_bounded() -> None:
    made = Guarded()
    made.store.hangs = True
    many = {number.to_bytes(4): b"1" for number in range(20_000)}
    for _ in range(3):
        await made.guarded.put(many)
    assert made.events == [CacheFailed("fake", "write")]
    await made.guarded.put({b"a": b"1"})
    assert len(made.events) == 1


def test_closing_waits_for_what_is_to_be_written_but_not_for_ever() -> None:
    made = Guarded()

    async def put_and_close() -> None:
        await made.put(b"a", b"1")
        await made.guarded.close()

    assert seconds_of(put_and_close)[1] == 0
    assert made.store.kept == {b"a": b"1"}
    made.store.hangs = True
    assert seconds_of(put_and_close)[1] < 10
    assert made.store.closed


async def test_a_request_that_is_cancelled_ends_as_such() -> None:
    made = Guarded()
    made.store.hangs = True
    lookup = asyncio.create_task(made.get(b"a"))
    await asyncio.sleep(0)
    lookup.cancel()
    with pytest.raises(asyncio.CancelledError):
        await lookup
    assert not made.events
