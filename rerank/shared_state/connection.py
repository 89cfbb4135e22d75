"""Connections to a Redis server."""

from __future__ import annotations

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

_CONNECTIONS = 32
_SOCKET_SECONDS = 2.0


def connect(url: str) -> Redis:
    """A client of a server, which is reached at the first call."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_SOCKET_SECONDS,
        socket_timeout=_SOCKET_SECONDS,
        socket_connect_timeout=_SOCKET_SECONDS,
        # a connection of before a restart of Redis
        retry=Retry(NoBackoff(), 1),
    )
    return Redis.from_pool(pool)
