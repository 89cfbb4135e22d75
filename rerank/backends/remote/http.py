"""HTTP to upstreams: a pool of connections, and answers within a size. Follows no redirect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import rerank
from rerank.text_file import UnfitFile

if TYPE_CHECKING:
    import aiohttp

CONNECT_SECONDS = 10.0
"""What a connection is given, where the call has as much."""
_IDLE_SECONDS = 30.0
"""Less than most servers keep an idle connection."""
_HEADERS = {
    "User-Agent": f"rerank-gateway/{rerank.__version__}",
    "Content-Type": "application/json",
    "Accept": "application/json",
    # so that the bytes that arrive are those that are read
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer of any status."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class TooLong(UnfitFile):
    """The answer holds more bytes than it may."""


class HttpPool:
    """Connections of all upstreams, each to be used on one event loop. Close it there."""

    def __init__(self) -> None:
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def post(
        self,
        address: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        seconds: float,
        max_bytes: int,
        trust_env: bool = False,
    ) -> HttpAnswer:
        """The answer to a POST. Raises aiohttp.ClientError, TimeoutError and TooLong.

        ``trust_env``: go through the proxy that the environment names.
        """
        # slow to import, and many servers have no upstream
        import aiohttp

        limits = aiohttp.ClientTimeout(total=seconds, connect=min(seconds, CONNECT_SECONDS))
        session = self._session(trust_env=trust_env)
        async with session.post(address, data=body, headers=headers, timeout=limits, allow_redirects=False) as response:
            return HttpAnswer(response.status, response.headers, await _read(response.content, max_bytes))

    async def aclose(self) -> None:
        """Close all connections."""
        sessions, self._sessions = self._sessions, {}
        await asyncio.gather(*(session.close() for session in sessions.values()))

    def _session(self, *, trust_env: bool) -> aiohttp.ClientSession:
        import aiohttp

        if trust_env not in self._sessions:
            self._sessions[trust_env] = aiohttp.ClientSession(
                # each upstream limits its calls itself
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=_HEADERS,
                trust_env=trust_env,
            )
        return self._sessions[trust_env]


async def _read(stream: aiohttp.StreamReader, max_bytes: int) -> bytes:
    content = bytearray()
    async for piece in stream.iter_any():
        content += piece
        if len(content) > max_bytes:
            raise TooLong(f"is larger than {max_bytes / 1e6:g} MB")
    return bytes(content)
