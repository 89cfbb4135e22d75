"""What a request asks of the cluster: a model in memory, and for equal queries the same replica."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rerank.api.bodies import BodyBounds, parse
from rerank.cluster.calls import Call
from rerank.core import Caller
from rerank.errors import InvalidRequest, RerankError

_BYTES_PER_TOKEN = 4
_AT_ONCE = 256 * 1024
"""Bytes of a body that is parsed on the event loop; a longer one is parsed on a thread."""
MODELS = "/v1/models/"
_ENDINGS = ("/load", "/unload", "/pin")

Find = Callable[[str | None, Caller], Awaitable[tuple[str, int]]]
"""The id of the model for a name, or of the default one, and the bytes of its weights. Raises RerankError."""


@dataclass(slots=True)
class Wish:
    """Travels with a request to the router, in the same process; the router notes in ``tried`` where it was sent."""

    model: str | None = None
    """Id of the model that has to be in memory; None: any replica will do."""
    bytes: int = 0
    """Of the model's weights; 0 if it has none."""
    affinity: str = ""
    """Hash of the query; empty without one."""
    tokens: int = 0
    """Estimated."""
    only: str | None = None
    """The replica that is meant; another one that gets the call instead does nothing."""
    tried: list[str] = field(default_factory=list)
    """Replicas that it was sent to, the last one at the end."""


class Reader:
    """Reads wishes from requests. A body that cannot be read is for any replica, which will say what is wrong."""

    def __init__(self, find: Find, bounds: BodyBounds) -> None:
        self._find = find
        self._bounds = bounds

    async def wish(self, call: Call, caller: Caller) -> Wish:
        """The wish of a request."""
        name, affinity = await self._named(call)
        if name is None and not call.body:
            return Wish()
        try:
            model, size = await self._find(name, caller)
        except RerankError:
            # the replica says what is wrong, or knows the name
            model, size = None, 0
        return Wish(model, size, affinity, len(call.body) // _BYTES_PER_TOKEN)

    async def _named(self, call: Call) -> tuple[str | None, str]:
        """The name of a model in a request, and the hash of its query."""
        if call.path.startswith(MODELS):
            return model_in(call.path), ""
        if not call.body:
            return call.query.get("model"), ""
        body = await self._body(call.body)
        return _name(body), _affinity(body)

    async def _body(self, raw: bytes) -> Mapping[str, Any]:
        """The body's object; empty if it holds none."""
        try:
            on_thread = len(raw) > _AT_ONCE
            read = await asyncio.to_thread(parse, raw, self._bounds) if on_thread else parse(raw, self._bounds)
        except (InvalidRequest, ValueError, RecursionError):
            return {}
        return read if isinstance(read, dict) else {}


def model_in(path: str) -> str:
    """The model's name in the address of a model or of what is done to it."""
    name = path.removeprefix(MODELS)
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)


def _name(body: Mapping[str, Any]) -> str | None:
    name = body.get("model")
    return name.strip() or None if isinstance(name, str) else None


def _affinity(body: Mapping[str, Any]) -> str:
    """Hash of the query, wherever the dialects have it."""
    nested = body.get("input")
    query = body.get("query") or (nested.get("query") if isinstance(nested, dict) else None) or body.get("text_1")
    if isinstance(query, dict):
        query = query.get("text")
    if not isinstance(query, str):
        return ""
    return hashlib.blake2b(query.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
