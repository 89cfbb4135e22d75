"""Scores in this process's memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from cachetools import TTLCache


class MemoryStore:
    """The most recently used scores. Belongs to the event loop's thread."""

    name = "memory"

    def __init__(self, pairs: int, ttl: float, clock: Callable[[], float] = time.monotonic) -> None:
        """``pairs``: maximum number of scores. ``ttl``: seconds that one is kept."""
        self._scores: TTLCache[bytes, bytes] = TTLCache(pairs, ttl, timer=clock)

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See ``Store.get``."""
        scores = self._scores
        # the clock is looked at once; and most are not there, for which `get` takes three times as long
        with scores.timer:
            return [scores[key] if key in scores else None for key in keys]  # noqa: SIM401

    async def put(self, scores: Mapping[bytes, bytes]) -> None:
        """See ``Store.put``."""
        self._scores.update(scores)

    async def close(self) -> None:
        """See ``Store.close``."""
        self._scores.clear()
