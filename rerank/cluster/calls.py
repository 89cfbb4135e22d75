"""HTTP requests and answers as records, and an ASGI application that is asked with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Message, Scope

from rerank.api.errors import record_of
from rerank.api.paths import path_of

Headers = tuple[tuple[bytes, bytes], ...]

_PASSED = (
    "type",
    "asgi",
    "http_version",
    "method",
    "scheme",
    "path",
    "raw_path",
    "query_string",
    "root_path",
    "client",
    "server",
)
_MAX_FIELDS = 100
_OF_THE_CONNECTION = frozenset(
    {b"connection", b"content-encoding", b"content-length", b"expect", b"keep-alive", b"te", b"transfer-encoding"}
)
"""Headers of a message as it was sent, which say nothing about one that is handed on whole and decoded."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request, with its whole body."""

    scope: Mapping[str, Any]
    headers: Headers
    body: bytes = b""

    @property
    def path(self) -> str:
        """The normalised path."""
        return path_of(dict(self.scope))

    @property
    def query(self) -> dict[str, str]:
        """The query string's fields, the last of each name; empty if there are too many."""
        given: bytes = self.scope.get("query_string", b"")
        try:
            return dict(parse_qsl(given.decode("latin-1"), max_num_fields=_MAX_FIELDS))
        except ValueError:
            # more fields than anything here reads
            return {}

    def with_header(self, name: str, value: str) -> Call:
        """The same with another header."""
        lower = name.lower().encode()
        kept = tuple(header for header in self.headers if header[0] != lower)
        return replace(self, headers=(*kept, (lower, value.encode("latin-1"))))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole."""

    status: int
    headers: Headers
    body: bytes
    error: str | None = None
    """The class of the error that it reports."""
    replica: str = ""
    """The replica that answers."""


def call_of(scope: Scope, body: bytes) -> Call:
    """The request of an ASGI scope, with its decoded body."""
    kept = tuple((name, value) for name, value in scope["headers"] if name not in _OF_THE_CONNECTION)
    length = ((b"content-length", str(len(body)).encode()),) if body else ()
    return Call({name: scope[name] for name in _PASSED if name in scope}, kept + length, body)


async def answered(app: ASGIApp, call: Call, replica: str = "") -> Answer:
    """The application's answer. If the caller is cancelled, the application sees a client that leaves, and ends."""
    exchange = _Exchange(call)
    task = asyncio.ensure_future(app(exchange.scope, exchange.receive, exchange.send))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        exchange.left.set()
        await asyncio.wait([task])
        raise
    error = record_of(exchange.scope).error
    return Answer(exchange.status, exchange.headers, b"".join(exchange.pieces), error, replica)


class _Exchange:
    """One request to an application, and what it answers."""

    def __init__(self, call: Call) -> None:
        self.scope: Scope = {**call.scope, "headers": list(call.headers), "state": {}}
        self.left = asyncio.Event()
        """Set once the client has left."""
        self.status = 0
        self.headers: Headers = ()
        self.pieces: list[bytes] = []
        self._body: bytes | None = call.body

    async def receive(self) -> Message:
        """See the ASGI specification."""
        if self._body is None:
            await self.left.wait()
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Message) -> None:
        """See the ASGI specification."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = tuple((bytes(name), bytes(value)) for name, value in message.get("headers", ()))
        else:
            self.pieces.append(bytes(message.get("body", b"")))
