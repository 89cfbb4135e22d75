"""The application before the replicas: keys, limits of bodies and the request's id as in one server, then a replica."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from rerank.api.auth import PUBLIC_PATHS
from rerank.api.errors import error_renderer, error_response, record_of
from rerank.cluster.asking import Cluster, ask
from rerank.cluster.calls import Answer, Call, call_of
from rerank.cluster.wishes import Reader, Wish
from rerank.core import Caller
from rerank.errors import InvalidRequest, RerankError
from rerank.telemetry import request_id_var
from rerank.telemetry.tracing import trace_headers

Everywhere = Callable[[Call, Caller], Awaitable[Answer] | None]
"""The answer to a request that all replicas have a part in; None for others."""


class Front:
    """Hands each request to a replica, or to all, and answers once."""

    def __init__(self, cluster: Cluster, reader: Reader, everywhere: Everywhere) -> None:
        self._cluster = cluster
        self._reader = reader
        self._everywhere = everywhere

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await WebSocketClose()(scope, receive, send)
            return
        record = record_of(scope)
        try:
            call = call_of(scope, await _body(receive))
            answer = await self._answer(_continued(call), _caller(scope))
        except RerankError as error:
            record.error = type(error).__name__
            await error_response(error, error_renderer(scope))(scope, receive, send)
            return
        record.error = answer.error or ""
        await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, call: Call, caller: Caller) -> Answer:
        if everywhere := self._everywhere(call, caller):
            return await everywhere
        # who needs no key has no say in where models are loaded
        public = call.path in PUBLIC_PATHS or call.scope["method"] == "OPTIONS"
        return await ask(self._cluster, Wish() if public else await self._reader.wish(call, caller), call)


def _continued(call: Call) -> Call:
    """The call under the same id and in the same trace, for the logs and spans of replicas."""
    for name, value in ({"X-Request-Id": request_id_var.get()} | trace_headers()).items():
        call = call.with_header(name, value)
    return call


def _caller(scope: Scope) -> Caller:
    caller: Caller = scope["state"]["caller"]
    return caller


async def _body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message: Message = await receive()
        if message["type"] == "http.disconnect":
            # the limits of bodies end one so, too, and then answer themselves
            raise InvalidRequest("The request body ended before it was whole.")
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
