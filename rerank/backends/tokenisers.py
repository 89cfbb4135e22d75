"""Reading of texts: what takes little time at once, the rest on threads.

All requests share the tokeniser threads; each holds one only for a part of its work.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

from rerank.scheduling.turns import Reader, Turns
from rerank.scorers.base import TURN_CHARACTERS, Part, Reading

T = TypeVar("T")

_FEW = 256
_SHORT = 2 * TURN_CHARACTERS
"""Texts, and their characters, of a request that is begun on the event loop's thread: handing it to another thread and
back takes 0.4 ms. With 10 known documents a request two cores answered 1.6 times as many."""
_AT_ONCE = 2000
"""Characters of quick parts that are read there: 1 to 2 ms of most texts, and 12 of ligatures that stand for 18 letters
each, the slowest that were found."""


class Tokenisers:
    """Threads that requests take turns on. To be used on the event loop's thread."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokenise")
        self._free = threads
        self._turns = Turns()
        self._wake: dict[Reader, asyncio.Future[None]] = {}

    async def run(self, reading: Reading[T], texts: int, characters: int, caller: str = "") -> T:
        """The result of reading this number of texts and characters. Cancelling stops it after the current part."""
        work = _Work(reading)
        if texts <= _FEW and characters <= _SHORT:
            work.read_at_once()
        return work.results[0] if work.results else await self._in_turns(work, characters, caller)

    async def _in_turns(self, work: _Work[T], characters: int, caller: str) -> T:
        reader = self._turns.enter(caller, characters)
        try:
            while not work.results:
                await self._turn(reader)
                self._turns.note(reader, await self._start(work.read_for_a_turn))
            return work.results[0]
        finally:
            self._turns.leave(reader)

    async def _turn(self, reader: Reader) -> None:
        """Wait for a thread and take it."""
        self._turns.wait(reader)
        wake = self._wake[reader] = asyncio.get_running_loop().create_future()
        self._hand_out()
        try:
            await wake
        except asyncio.CancelledError:
            if wake.done() and not wake.cancelled():
                self._give_back()
            raise
        finally:
            del self._wake[reader]

    def _hand_out(self) -> None:
        """Give free threads to the next readers."""
        while self._free and (reader := self._turns.next()):
            wake = self._wake[reader]
            # one that was cancelled takes none
            if not wake.done():
                self._free -= 1
                wake.set_result(None)

    def _give_back(self) -> None:
        self._free += 1
        self._hand_out()

    async def _start(self, part: Callable[[], int]) -> int:
        """Run a part on a thread, which is free again when the part ends, even if it was cancelled."""
        loop = asyncio.get_running_loop()
        future = self._threads.submit(contextvars.copy_context().run, part)

        def free(_: Future[int]) -> None:
            loop.call_soon_threadsafe(self._give_back)

        future.add_done_callback(free)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """End the threads after their current parts."""
        self._threads.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Work(Generic[T]):
    """A reading under way."""

    def __init__(self, reading: Reading[T]) -> None:
        self._reading = reading
        self._ahead = Part(0)
        self.results: list[T] = []
        """The result, after the last part."""

    def read_at_once(self) -> None:
        """Read as far as that takes little time."""
        read = 0
        while not self.results and self._ahead.quick and read + self._ahead.characters <= _AT_ONCE:
            read += self._read_part()

    def read_for_a_turn(self) -> int:
        """Read for one turn: the number of characters."""
        read = 0
        while not self.results and read < TURN_CHARACTERS:
            read += self._read_part()
        return read

    def _read_part(self) -> int:
        done = self._ahead
        try:
            self._ahead = next(self._reading)
        except StopIteration as end:
            self.results.append(end.value)
        return done.characters
