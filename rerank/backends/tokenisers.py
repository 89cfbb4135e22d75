"""Tokeniser threads, shared by all requests; a request holds one only for a part of its work."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from rerank.scheduling.turns import Reader, Turns
from rerank.scorers.base import TURN_CHARACTERS, Reading

T = TypeVar("T")


class Tokenisers:
    """Threads that requests take turns on. To be used on the event loop's thread."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="tokenise")
        self._free = threads
        self._turns = Turns()
        self._wake: dict[Reader, asyncio.Future[None]] = {}

    async def run(self, reading: Reading[T], characters: int, caller: str = "") -> T:
        """The result of reading texts with this number of characters. Cancelling stops it after the current part."""
        reader = self._turns.enter(caller, characters)
        try:
            while True:
                await self._turn(reader)
                read, results = await self._start(_read_on, reading)
                self._turns.note(reader, read)
                if results:
                    return results[0]
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

    async def _start(
        self, work: Callable[[Reading[T]], tuple[int, list[T]]], reading: Reading[T]
    ) -> tuple[int, list[T]]:
        """Run a part on a thread, which is free again when the part ends, even if it was cancelled."""
        loop = asyncio.get_running_loop()
        future = self._threads.submit(contextvars.copy_context().run, work, reading)

        def free(_: Future[tuple[int, list[T]]]) -> None:
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


def _read_on(reading: Reading[T]) -> tuple[int, list[T]]:
    """Read for one turn: the number of characters, and the result in a list after the last turn."""
    characters = 0
    while characters < TURN_CHARACTERS:
        try:
            characters += next(reading)
        except StopIteration as end:
            return characters, [end.value]
    return characters, []
