"""Receiving of request bodies: decoding, size and time limits, and the draining of refused bodies."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rerank.api.encodings import Decoder, decoder_for
from rerank.api.errors import error_renderer, error_response
from rerank.core import Caller
from rerank.errors import BodyTooLarge, BodyTooSlow, Overloaded, RerankError

_SLOWEST = 10_000
"""Minimum bytes per second once a client's patience is used up."""
_DRAINED_BODIES = 4
"""Maximum-size bodies that are read of a refused one, so that the client sees the refusal."""
_PAUSE_SECONDS = 5
"""Maximum pause between two bytes of a refused body."""


class LimitBody:
    """Rejects a body larger than ``max_bytes``, or beyond ``max_held``, while it arrives."""

    def __init__(self, app: ASGIApp, max_bytes: int, patience: float, max_held: int | None = None) -> None:
        """``patience``: seconds without progress, where 10 kB are one second. ``max_held``: bytes that the bodies of
        all requests together may have; None is no limit, and a request alone has none."""
        self._app = app
        self.max_bytes = max_bytes
        self.patience = patience
        self.pot = _Pot(max_held)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = _Body(self, scope, receive, send)
        except RerankError as error:
            await error_response(error, error_renderer(scope))(scope, receive, send)
            return
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            self.pot.give_back(body.caller, body.seen)
        if body.error and not body.answered:
            await error_response(body.error, error_renderer(scope))(scope, receive, send)

    def too_large(self) -> BodyTooLarge:
        """The error for a body beyond the limit."""
        return BodyTooLarge(
            f"The request body is larger than {self.max_bytes} bytes (MAX_BODY_BYTES). Send the documents in parts."
        )


class _Body:
    """One body on its way to the application. Raises BodyTooLarge or UnknownEncoding where its head says enough."""

    def __init__(self, limits: LimitBody, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        declared = headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > limits.max_bytes:
            raise limits.too_large()
        self._decoder = decoder_for(headers.get("content-encoding", ""))
        self._limits = limits
        self._receive, self._send = receive, send
        self.caller: str = scope.get("state", {}).get("caller", Caller()).name
        self.seen = 0
        """Bytes, decoded."""
        self._came = 0
        """Bytes, as sent."""
        self._whole = False
        self._deadline = time.perf_counter() + limits.patience
        self.answered = False
        self.error: RerankError | None = None

    async def receive(self) -> Message:
        """See the ASGI specification. After an error the application sees a disconnect, and the client the error."""
        try:
            message = await (self._decoded(self._decoder) if self._decoder else self._next())
            if size := len(message.get("body", b"")):
                self._count(size)
        except RerankError as error:
            self.error = self.error or error
            return {"type": "http.disconnect"}
        return message

    async def send(self, message: Message) -> None:
        """See the ASGI specification."""
        if self.answered or self.error is None:
            self.answered = True
            await self._send(message)

    async def _next(self) -> Message:
        """The next message, in time; a client gains time by what it sends, but never more than it had at first."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._deadline - time.perf_counter()):
                message = await self._receive()
        except TimeoutError:
            raise BodyTooSlow(
                f"The request body did not come within {self._limits.patience:g} s (RECEIVE_TIMEOUT)."
            ) from None
        size = len(message.get("body", b""))
        self._deadline = min(self._deadline + size / _SLOWEST, time.perf_counter() + self._limits.patience)
        self._whole = not message.get("more_body", False)
        self._came += size
        if self._came > self._limits.max_bytes:
            raise self._limits.too_large()
        return message

    async def _decoded(self, decoder: Decoder) -> Message:
        while not (piece := decoder.take()):
            if self._whole:
                decoder.end()
                # what else comes is that the client leaves
                self._decoder = None
                return {"type": "http.request", "body": b"", "more_body": False}
            message = await self._next()
            if message["type"] != "http.request":
                return message
            decoder.put(message.get("body", b""))
        # a small body may unpack to many pieces, between which others have their turn
        await asyncio.sleep(0)
        return {"type": "http.request", "body": piece, "more_body": True}

    def _count(self, size: int) -> None:
        self.seen += size
        self._limits.pot.put(self.caller, size)
        if self.seen > self._limits.max_bytes:
            raise self._limits.too_large()
        self._limits.pot.check(self.caller, self.seen)


class _Pot:
    """Bytes of all bodies, by caller. If one caller has used all, another still has an equal share."""

    def __init__(self, most: int | None) -> None:
        self._most = most
        self._held = 0
        self._by_caller: dict[str, int] = {}

    def put(self, caller: str, size: int) -> None:
        """Count received bytes."""
        self._held += size
        self._by_caller[caller] = self._by_caller.get(caller, 0) + size

    def give_back(self, caller: str, size: int) -> None:
        """Subtract them again."""
        self._held -= size
        left = self._by_caller.get(caller, 0) - size
        if left > 0:
            self._by_caller[caller] = left
        else:
            self._by_caller.pop(caller, None)

    def check(self, caller: str, seen: int) -> None:
        """Raise Overloaded if these bytes of a request take a caller beyond its share."""
        if self._most is None or self._held <= self._most or seen >= self._held:
            return
        if self._by_caller[caller] * len(self._by_caller) > self._most:
            raise Overloaded(
                f"The server is busy: it holds {self._held} bytes of requests, maximum "
                f"{self._most} (MAX_INFLIGHT_BYTES). Try again shortly.",
                retry_after=1.0,
            )


class ReadRest:
    """Reads the unread rest of a body before an answer ends.

    A connection that is closed with unread bytes is reset, and the client would not see the answer.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, patience: float) -> None:
        """``max_bytes``: of a body that is not refused. ``patience``: seconds in all."""
        self._app = app
        self._max_bytes = _DRAINED_BODIES * max_bytes
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        rest = _Rest(receive, send, waits=Headers(scope=scope).get("expect", "").lower() == "100-continue")
        await self._app(scope, rest.receive, rest.send)
        if rest.end_is_due:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await rest.read(self._max_bytes)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Rest:
    """A request whose answer does not end before its body has."""

    def __init__(self, receive: Receive, send: Send, *, waits: bool) -> None:
        """``waits``: the client sends the body only once it is asked for."""
        self._receive, self._send = receive, send
        self._waits = waits
        self._whole = False
        self.end_is_due = False

    async def receive(self) -> Message:
        """See the ASGI specification."""
        self._waits = False
        message = await self._receive()
        self._whole = self._whole or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """See the ASGI specification."""
        if self._waits and message["type"] == "http.response.start":
            # the body will not come, or it will: only a new connection is sure to begin with a request
            MutableHeaders(scope=message)["Connection"] = "close"
        ends = message["type"] == "http.response.body" and not message.get("more_body", False)
        if ends and not self._whole and not self._waits:
            self.end_is_due = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def read(self, most: int) -> None:
        """Read and drop. Raises TimeoutError."""
        while not self._whole and most > 0:
            async with asyncio.timeout(_PAUSE_SECONDS):
                most -= len((await self.receive()).get("body", b""))


def _has_body(scope: Scope) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )
