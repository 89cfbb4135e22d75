"""A store that may be slow or gone: requests wait for it a moment at most, and never fail with it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context
from typing import TypeVar

from rerank.gateway.cache.pause import Pause
from rerank.gateway.cache.store import Store
from rerank.telemetry.events import CacheFailed, Observe, Operation, ignore

T = TypeVar("T")
logger = logging.getLogger(__name__)

_WAITING_SCORES = 50_000
"""Maximum scores that wait to be written; further ones are not kept."""
_WRITE_SECONDS = 2.0
_CLOSE_SECONDS = 2.0


class GuardedStore:
    """Reads within a limit of time, writes in the background, and leaves the store alone for a while when it fails."""

    def __init__(
        self,
        store: Store,
        place: str,
        patience: float,
        observe: Observe = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``place``: the store in the log, without a password. ``patience``: maximum seconds of a lookup."""
        self.name = store.name
        self._store = store
        self._patience = patience
        self._reads = _Calls(store.name, "read", f"the cache {place} cannot be read", observe, clock)
        self._writes = _Calls(store.name, "write", f"the cache {place} cannot be written", observe, clock)
        self._waiting: deque[Mapping[bytes, bytes]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See ``Store.get``; nothing if that fails or takes too long."""
        if self._reads.paused:
            return [None] * len(keys)
        found = await self._reads.within(self._patience, self._checked(keys))
        return [None] * len(keys) if found is None else found

    async def _checked(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        found = await self._store.get(keys)
        if len(found) != len(keys):
            raise ValueError(f"it answered {len(found)} entries for {len(keys)}")
        return found

    async def put(self, scores: Mapping[bytes, bytes]) -> None:
        """Keep scores soon. Does not wait."""
        if self._reads.paused or self._writes.paused or not scores:
            return
        if sum(map(len, self._waiting)) + len(scores) > _WAITING_SCORES:
            self._writes.failed("it is slower than scores are computed")
            return
        self._waiting.append(scores)
        if self._writer is None or self._writer.done():
            # the request that happens to come first has nothing to do with what is written and logged
            self._writer = asyncio.create_task(self._write(), name="write-cache", context=Context())

    async def _write(self) -> None:
        while self._waiting:
            scores = self._waiting.popleft()
            await self._writes.within(_WRITE_SECONDS, self._store.put(scores))
            if self._writes.paused:
                self._waiting.clear()

    async def close(self) -> None:
        """See ``Store.close``. Waits a moment for what is still to be written."""
        if self._writer:
            await asyncio.wait({self._writer}, timeout=_CLOSE_SECONDS)
            self._writer.cancel()
        async with asyncio.timeout(_CLOSE_SECONDS):
            await self._store.close()


class _Calls:
    """Calls of one kind: whether they work, which the log says once whenever it changes."""

    def __init__(
        self, store: str, operation: Operation, trouble: str, observe: Observe, clock: Callable[[], float]
    ) -> None:
        self._failure = CacheFailed(store, operation)
        self._trouble = trouble
        self._observe = observe
        self._pause = Pause(clock)

    @property
    def paused(self) -> bool:
        return self._pause.lasts

    async def within(self, seconds: float, call: Awaitable[T]) -> T | None:
        """The call's result; None if it fails or takes longer."""
        try:
            async with asyncio.timeout(seconds):
                result = await call
        except Exception as error:
            # whatever a library raises: a request does not fail because a score was not kept
            self.failed(str(error) or f"no answer within {1000 * seconds:g} ms")
            return None
        if self._pause.worked():
            logger.info("no longer: %s", self._trouble)
        return result

    def failed(self, reason: str) -> None:
        self._observe(self._failure)
        if self._pause.failed():
            logger.warning("%s: %s", self._trouble, reason)
