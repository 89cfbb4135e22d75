"""A server that has models of a soak: ``python -m benchmarks.soak_upstream PORT healthy|slow|failing``.

It speaks vLLM's API, and scores by a hash, so that every score of every text is known beforehand.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

Body = dict[str, Any]
Manner = Callable[[web.Request, Body], Awaitable[web.StreamResponse]]


def upstream_score(model: str, query: str, document: str) -> float:
    """The relevance that an upstream's model gives, in 0..1."""
    digest = hashlib.blake2b("\0".join((model, query, document)).encode(), digest_size=6).digest()
    return int.from_bytes(digest) / 2**48


async def healthy(_: web.Request, body: Body) -> web.StreamResponse:
    """Scores, at once."""
    results = [
        {"index": index, "relevance_score": upstream_score(body["model"], body["query"], document)}
        for index, document in enumerate(body["documents"])
    ]
    return web.json_response({"results": results, "usage": {"total_tokens": 5 * len(results)}})


async def slow(request: web.Request, body: Body) -> web.StreamResponse:
    """Scores, after up to a second."""
    await asyncio.sleep(random.uniform(0.1, 1.0))  # noqa: S311
    return await healthy(request, body)


async def failing(request: web.Request, body: Body) -> web.StreamResponse:
    """Seldom scores."""
    return await random.choice(_FAILURES)(request, body)  # noqa: S311


async def _breaks_off(request: web.Request, _: Body) -> web.StreamResponse:
    if request.transport:
        request.transport.abort()
    return web.Response()


async def _hangs(request: web.Request, body: Body) -> web.StreamResponse:
    await asyncio.sleep(10)
    return await healthy(request, body)


async def _leaves_out(request: web.Request, body: Body) -> web.StreamResponse:
    return await healthy(request, body | {"documents": body["documents"][1:]})


def _answers(status: int, content: bytes, kind: str = "application/json") -> Manner:
    async def answer(*_: object) -> web.StreamResponse:
        return web.Response(status=status, body=content, content_type=kind)

    return answer


_FAILURES: tuple[Manner, ...] = (
    healthy,
    _breaks_off,
    _hangs,
    _leaves_out,
    _answers(500, b'{"error": {"message": "out of memory"}}'),
    _answers(503, b"busy", "text/plain"),
    _answers(401, b'{"error": "Unauthorized"}'),
    _answers(200, b"<html>It works!</html>", "text/html"),
    _answers(200, b'{"results": [{"index": 0, "relevance_score": NaN}]}'),
    _answers(200, b'{"error": "no such model"}'),
)
MANNERS: dict[str, Manner] = {"healthy": healthy, "slow": slow, "failing": failing}


def main() -> None:
    """See the module's docstring."""
    port, manner = int(sys.argv[1]), MANNERS[sys.argv[2]]

    async def rerank(request: web.Request) -> web.StreamResponse:
        return await manner(request, json.loads(await request.read()))

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/{path:.*}", rerank)
    web.run_app(app, host="127.0.0.1", port=port, print=None)


if __name__ == "__main__":
    main()
