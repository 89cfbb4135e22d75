"""The shared state: scripts that Redis runs, each as one step."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from rerank.settings.values import without_password
from rerank.shared_state.calls import Calls
from rerank.telemetry.events import Observe, StateFailed, ignore

if TYPE_CHECKING:
    from redis.commands.core import AsyncScript

_SECONDS = 0.25
"""Enough for an event loop that is busy; a call that takes longer is counted as failed."""
_CLOSE_SECONDS = 2.0
OWN_KEY = """
local function own(key, kind)
    local found = redis.call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then redis.call('DEL', key) end
end
"""
"""Lua: a key that another program has written is deleted."""


class SharedState:
    """A Redis server. What is slow or gone is left alone for a while; its users go on without it."""

    def __init__(
        self,
        url: str,
        patience: float = _SECONDS,
        observe: Observe = ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``url``: as in RERANK_STATE_URL. ``patience``: maximum seconds of a call."""
        # slow to import, and most servers have none
        from rerank.shared_state.connection import connect

        self._redis = connect(url)
        self._patience = patience
        self._scripts: dict[str, AsyncScript] = {}
        place = without_password(url)
        trouble = f"RERANK_STATE_URL: {place} cannot be used, every server counts for itself"
        self._calls = Calls(trouble, StateFailed(), observe, clock)

    @property
    def up(self) -> bool:
        """False from a failed call until one that works."""
        return not self._calls.failing

    async def run(
        self, script: str, keys: Sequence[str], arguments: Sequence[str | int], patience: float | None = None
    ) -> Sequence[Any] | None:
        """The result of a Lua script; None if that fails or takes too long: ``patience`` where no request waits."""
        if self._calls.paused:
            return None
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._redis.register_script(script)
        return await self._calls.within(patience or self._patience, registered(keys=keys, args=arguments))

    async def close(self) -> None:
        """Close the connections."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._redis.aclose()


@asynccontextmanager
async def open_state(
    url: str | None, observe: Observe = ignore, patience: float = _SECONDS
) -> AsyncIterator[SharedState | None]:
    """The state at an address as in RERANK_STATE_URL; None for a server on its own."""
    state = SharedState(url, patience, observe) if url else None
    try:
        yield state
    finally:
        if state:
            await state.close()
