"""Middleware of Ray's proxy: a request whose ingress ended before it had answered is sent to another one."""

from __future__ import annotations

import logging

from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rerank.api.errors import common_error, error_response
from rerank.errors import OutOfOrder

logger = logging.getLogger(__name__)

VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"
"""Where Ray's proxy looks for middlewares; it is read where Ray was started."""
PLACE = "rerank.cluster.proxy:middlewares"
_MAX_TRIES = 3


def middlewares() -> list[Middleware]:
    """Middlewares, the innermost first."""
    return [Middleware(Resend)]


class Resend:
    """Sends a request again that Ray's proxy leaves without an answer, which is its way to say that an ingress ended.

    As in `rerank.cluster.asking.ask`, every request may be sent again.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        for _ in range(_MAX_TRIES):
            await self._app(dict(scope), exchange.receive, exchange.send)
            if exchange.over:
                return
            logger.warning("an ingress ended before it had answered")
            exchange.rewind()
        error = OutOfOrder(f"{_MAX_TRIES} ingresses ended before they had answered")
        await error_response(error, common_error)(scope, receive, send)


class _Exchange:
    """A request whose messages are kept until the answer begins."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._kept: list[Message] = []
        self._next = 0
        self.over = False
        """True once the answer has begun, or the client has left."""

    def rewind(self) -> None:
        """Receive from the beginning again."""
        self._next = 0

    async def receive(self) -> Message:
        """See the ASGI specification."""
        if self._next < len(self._kept):
            self._next += 1
            return self._kept[self._next - 1]
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.over = True
        elif not self.over:
            self._kept.append(message)
            self._next += 1
        return message

    async def send(self, message: Message) -> None:
        """See the ASGI specification."""
        self.over = True
        self._kept.clear()
        await self._send(message)
