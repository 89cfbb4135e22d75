"""The store that a setting describes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from rerank.gateway.cache.file import FileStore, check_file
from rerank.gateway.cache.guarded import GuardedStore
from rerank.gateway.cache.memory import MemoryStore
from rerank.gateway.cache.store import Store
from rerank.settings.values import without_password
from rerank.telemetry.events import Observe, ignore
from rerank.units import expand_home

_REDIS_SECONDS = 0.05
_FILE_SECONDS = 0.5


@asynccontextmanager
async def open_store(place: str, pairs: int, ttl: float, observe: Observe = ignore) -> AsyncIterator[Store | None]:
    """The store at a place as in RERANK_CACHE; None for no cache."""
    store = _store(place, pairs, ttl, observe) if pairs else None
    try:
        yield store
    finally:
        if store:
            await store.close()


def check_place(place: str) -> None:
    """Raise SettingsError for a file that cannot be used. A Redis server may come later."""
    if place.startswith("file:"):
        check_file(_file(place))


def _store(place: str, pairs: int, ttl: float, observe: Observe) -> Store | None:
    if place == "off":
        return None
    if place == "memory":
        return MemoryStore(pairs, ttl)
    if place.startswith("file:"):
        file = _file(place)
        return GuardedStore(FileStore(file, pairs, ttl), str(file), _FILE_SECONDS, observe)
    # slow to import, and most servers have none
    from rerank.gateway.cache.redis import RedisStore

    return GuardedStore(RedisStore(place, ttl), without_password(place), _REDIS_SECONDS, observe)


def _file(place: str) -> Path:
    return expand_home(Path(place.removeprefix("file:").strip()))
