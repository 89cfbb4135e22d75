"""A store that may be slow or gone: requests wait for it a moment at most, and never fail with it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context

from rerank.gateway.cache.store import Store
from rerank.shared_state.calls import Calls
from rerank.telemetry.events import CacheFailed, Observe, ignore

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
        self._reads = Calls(f"the cache {place} cannot be read", CacheFailed(store.name, "read"), observe, clock)
        self._writes = Calls(f"the cache {place} cannot be written", CacheFailed(store.name, "write"), observe, clock)
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
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._store.close()
