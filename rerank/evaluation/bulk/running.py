"""The run itself: items are read on a thread, a few at a time are asked for, outcomes are written in their order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from rerank import errors
from rerank.errors import RerankError
from rerank.evaluation.bulk.items import Item, Outcome
from rerank.evaluation.rankers import Rankers
from rerank_client import (
    AuthenticationError,
    ConnectionFailedError,
    NotFoundError,
    OverloadedError,
    TimeoutFailedError,
    UnavailableError,
)

_ENDING = (
    errors.ModelUnavailable,
    errors.ModelNotFound,
    errors.OutOfOrder,
    errors.ServerStopping,
    errors.UpstreamFailed,
    errors.Forbidden,
    errors.Unauthorized,
    errors.Overloaded,
)
_ENDING_THERE = (
    AuthenticationError,
    ConnectionFailedError,
    NotFoundError,
    OverloadedError,
    TimeoutFailedError,
    UnavailableError,
)


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run has done."""

    items: int = 0
    pairs: int = 0
    tokens: int = 0
    errors: int = 0
    first_error: str = ""
    seconds: float = 0.0

    def plus(self, outcome: Outcome, seconds: float) -> Tally:
        """With one item more."""
        if isinstance(outcome, str):
            first = self.first_error or outcome
            return replace(self, items=self.items + 1, errors=self.errors + 1, first_error=first, seconds=seconds)
        return replace(
            self,
            items=self.items + 1,
            pairs=self.pairs + len(outcome.relevance),
            tokens=self.tokens + outcome.tokens,
            seconds=seconds,
        )


async def rank_items(
    rankers: Rankers, model: str, items: Iterator[Item], write: Callable[[Item, Outcome], None], in_flight: int
) -> Tally:
    """Ask for every item, and write each outcome in its turn.

    An error that a request causes is its outcome. One that any request would meet ends the run: RerankError. Raises
    what reading and writing raise, too.
    """
    tally, began = Tally(), time.perf_counter()
    async with _Feed(items, in_flight, lambda item: _outcome(rankers, model, item)) as feed:
        while (entry := await feed.next()) is not None:
            item, task = entry
            outcome = await task
            write(item, outcome)
            feed.release(task)
            tally = tally.plus(outcome, time.perf_counter() - began)
    return tally


async def _outcome(rankers: Rankers, model: str, item: Item) -> Outcome:
    if item.error:
        return item.error
    try:
        return await rankers.ask(model, item.query, item.documents, item.asked)
    except RerankError as error:
        if isinstance(error, _ENDING) or isinstance(error.__cause__, _ENDING_THERE):
            raise
        return error.message


_Entry = tuple[Item, "asyncio.Task[Outcome]"]


class _Feed:
    """Items with the tasks that ask for them. A thread reads: an input may be a pipe, for which one has to wait."""

    def __init__(self, items: Iterator[Item], ahead: int, ask: Callable[[Item], Coroutine[Any, Any, Outcome]]) -> None:
        self._items = items
        self._ask = ask
        self._free = threading.Semaphore(ahead)
        self._entries: asyncio.Queue[_Entry | BaseException | None] = asyncio.Queue()
        self._tasks: set[asyncio.Task[Outcome]] = set()
        self._loop = asyncio.get_running_loop()
        self._ended = False

    async def __aenter__(self) -> Self:
        """Begin to read."""
        # a daemon: a pipe may never end
        threading.Thread(target=self._read, name="read-items", daemon=True).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Drop what is in flight."""
        self._ended = True
        self._free.release()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def next(self) -> _Entry | None:
        """The next item; None after the last. Raises what reading raised."""
        entry = await self._entries.get()
        if isinstance(entry, BaseException):
            raise entry
        return entry

    def release(self, task: asyncio.Task[Outcome]) -> None:
        """The task's item is written; another may be read."""
        self._tasks.discard(task)
        self._free.release()

    def _read(self) -> None:
        try:
            for item in self._items:
                self._free.acquire()
                if self._ended:
                    return
                self._call(self._begin, item)
            self._call(self._entries.put_nowait, None)
        except BaseException as error:
            self._call(self._entries.put_nowait, error)

    def _call(self, function: Callable[..., object], *arguments: object) -> None:
        # the loop may have been closed meanwhile
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)

    def _begin(self, item: Item) -> None:
        task = self._loop.create_task(self._ask(item))
        self._tasks.add(task)
        self._entries.put_nowait((item, task))
