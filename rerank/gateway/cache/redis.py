"""Scores in Redis: several servers share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rerank.shared_state.connection import connect

_PREFIX = "rerank:"
_KEYS_PER_CALL = 500
"""So few are packed and parsed in a few milliseconds, in which the event loop does nothing else."""


class RedisStore:
    """Scores under keys of one prefix, which Redis drops when they expire or its memory is full."""

    name = "redis"

    def __init__(self, url: str, ttl: float) -> None:
        """``ttl``: seconds that a score is kept."""
        self._milliseconds = max(1, int(1000 * ttl))
        self._redis = connect(url)

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See ``Store.get``."""
        kept: list[bytes | None] = []
        for start in range(0, len(keys), _KEYS_PER_CALL):
            values = await self._redis.mget([_named(key) for key in keys[start : start + _KEYS_PER_CALL]])
            kept += [value if isinstance(value, bytes) else None for value in values]
        return kept

    async def put(self, scores: Mapping[bytes, bytes]) -> None:
        """See ``Store.put``."""
        entries = list(scores.items())
        for start in range(0, len(entries), _KEYS_PER_CALL):
            async with self._redis.pipeline(transaction=False) as calls:
                for key, score in entries[start : start + _KEYS_PER_CALL]:
                    calls.set(_named(key), score, px=self._milliseconds)
                await calls.execute()

    async def close(self) -> None:
        """See ``Store.close``."""
        await self._redis.aclose()


def _named(key: bytes) -> str:
    return _PREFIX + key.hex()
