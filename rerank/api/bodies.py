"""JSON bodies within bounds, for every endpoint.

A body of 32 MB that is all structure (`[[],[],...`) takes seconds to parse and a gigabyte to hold, a body of 32 MB of
text takes less than a tenth of a second. So what stands outside of strings is counted before anything is parsed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from pydantic import BaseModel, model_validator
from starlette.types import Receive, Scope

from rerank.api.routes import Route
from rerank.errors import InvalidRequest, TooManyDocuments

_VALUES_PER_DOCUMENT = 100
_MIN_VALUES = 100_000
_BYTES_PER_VALUE = 8
"""Of numbers and punctuation: a number of 4,000 digits takes as long to read as 4,000 numbers of one."""


@dataclass(frozen=True, slots=True)
class BodyBounds:
    """Limits of one body."""

    documents: int
    """Items of a list of texts."""
    bytes: int
    """Of the whole body, and of texts built from it."""

    @property
    def values(self) -> int:
        """Values and names of the whole body: enough for documents that are objects of many fields."""
        return max(_VALUES_PER_DOCUMENT * self.documents, _MIN_VALUES)


bounds_var: ContextVar[BodyBounds] = ContextVar("bounds")
"""Bounds of the current request; set before its body is validated."""


def check_length(items: list[Any], field: str | None) -> None:
    """Refuse a field of more texts than the server takes, before any of them is looked at. Raises TooManyDocuments."""
    most = bounds_var.get().documents
    if len(items) > most:
        raise TooManyDocuments(len(items), most, field or "documents")


def present(body: Any) -> Any:
    """A body without its nulls, which count as absent."""
    return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body


class TolerantBody(BaseModel):
    """A body whose nulls count as absent."""

    @model_validator(mode="before")
    @classmethod
    def _present(cls, body: Any) -> Any:
        return present(body)


class JsonRoute(Route):
    """A route whose body is parsed within the bounds. Every route that takes a body is one."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See FastAPI."""
        handle = super().get_route_handler()

        async def handle_within_bounds(request: Request) -> Response:
            state = request.app.state
            token = bounds_var.set(BodyBounds(state.services.gateway.limits.max_documents, state.max_body_bytes))
            try:
                return await handle(_JsonRequest(request.scope, request.receive, self.recognise))
            finally:
                bounds_var.reset(token)

        return handle_within_bounds

    def recognise(self, request: Request, body: Any) -> None:
        """Look at a parsed body before it is validated."""


class _JsonRequest(Request):
    """A request whose JSON is counted before it is parsed."""

    def __init__(self, scope: Scope, receive: Receive, recognise: Callable[[Request, Any], None]) -> None:
        super().__init__(scope, receive)
        self._recognise = recognise

    async def json(self) -> Any:
        """The parsed body. Raises what ``parse`` raises."""
        body = parse(await self.body(), bounds_var.get())
        self._recognise(self, body)
        return body


def parse(raw: bytes, bounds: BodyBounds) -> Any:
    """A body as JSON. Raises InvalidRequest for one of too many values, ValueError or RecursionError for no JSON."""
    encoding = json.detect_encoding(raw)
    if not encoding.startswith("utf-8"):
        raw = raw.decode(encoding, "surrogatepass").encode("utf-8", "surrogatepass")
    if len(raw) > bounds.values:
        _check_structure(raw, bounds.values)
    return json.loads(raw)


def _check_structure(raw: bytes, most: int) -> None:
    """Count quotes, then commas and brackets outside of strings: each step is one pass in C over what is left."""
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    values = raw.count(b'"') // 2
    if values <= most:
        outside = b"".join(raw.split(b'"')[::2]).translate(None, b" \t\r\n")
        values = max(sum(map(outside.count, (b",", b"[", b"{"))), len(outside) // _BYTES_PER_VALUE)
    if values > most:
        raise InvalidRequest(
            f"The body holds more than {most} values and names; this server takes no more at once "
            f"({_VALUES_PER_DOCUMENT} for each of MAX_DOCUMENTS). Send the documents in parts."
        )
