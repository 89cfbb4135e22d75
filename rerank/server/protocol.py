"""uvicorn's HTTP with a limit for everything that arrives, and a time limit for every state of a connection."""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rerank.server.chunked import Dechunker, MalformedChunks
from rerank.server.connections import Connections, HttpLimits
from rerank.server.heads import MAX_HEAD_BYTES, MAX_HEADERS, Refused, framing, is_plausible, without_upgrade

logger = logging.getLogger(__name__)

_MAX_STRAY_BYTES = 64
"""Line ends between two requests, which HTTP allows a server to pass over."""
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1_000_000
"""Read and dropped after a refusal: a connection closed over unread bytes is reset, and the refusal lost with it."""
_SURPLUS_SECONDS = 1.0
_PROGRESS_BYTES = 65_536
"""Of an answer, which the client has to read each time; or all that is left of it."""
_HEAD_END = b"\r\n\r\n"


def guarded(limits: HttpLimits, connections: Connections) -> type[GuardedProtocol]:
    """The protocol with these limits; uvicorn makes one for each connection and passes no settings."""
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits, "others": connections})


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, fed one whole head at a time, and nothing behind a request until that is answered.

    httptools reads heads only. Bodies go around it: it would keep every trailer, and take the body of a request that
    offers an upgrade for another protocol.
    """

    limits: HttpLimits
    others: Connections
    flow: _Flow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._address = ""
        self._surplus = self._lingering = False
        self._since = self.loop.time()
        """When the present state began."""
        self._head = b""
        """What has come of a head without end."""
        self._behind = b""
        """What has come behind the request that is being answered."""
        self._stray_bytes = self._dropped_bytes = 0
        self._chunks: Dechunker | None = None
        self._body_left = 0
        """Of a body with a Content-Length."""
        self._receiving = False
        """True while a body is to come."""
        self._unread = 0
        """Bytes of answers that were unread when the client last got on with reading."""
        self._unread_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        self._address = self.client[0] if self.client else ""
        self._surplus = not self.others.enter(self, self._address, self.loop)
        if self._surplus and self.others.overrun:
            self._count("too many")
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.others.leave(self, self._address)
        self._head = self._behind = b""
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._unread = 0
        super().resume_writing()

    def look(self, now: float) -> None:
        """Close the connection if its time is up."""
        waited = now - self._since
        if self._answer_is_stuck(now):
            self._count("answer not read")
            logger.warning("closed a connection: %s has not read its answer", self._address)
            self.transport.abort()
        elif self.transport.is_closing():
            return
        elif self._lingering:
            if waited > _LINGER_SECONDS:
                self.transport.close()
        elif not self._busy:
            # what is being worked for has the time limits of the application
            self._look_for_a_request(waited)

    def _look_for_a_request(self, waited: float) -> None:
        if self._surplus:
            if waited > _SURPLUS_SECONDS:
                self._refuse_surplus()
        elif self._head or self.cycle is None:
            if waited > self.limits.head:
                self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        elif waited > self.timeout_keep_alive:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._lingering:
            self._dropped_bytes += len(data)
            if self._dropped_bytes > _LINGER_BYTES:
                self.transport.abort()
        elif self._surplus:
            self._refuse_surplus()
        else:
            self._read(self._behind + data if self._behind else data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        if len(self.headers) >= MAX_HEADERS:
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._chunks, self._body_left = framing(self.headers)
        self._receiving = self._chunks is not None or self._body_left > 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See httptools, which knows of no bodies here."""

    def on_response_complete(self) -> None:
        """See uvicorn."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._since = self.loop.time()
        if self._receiving:
            # the application has read of it as much as it wants to
            self._linger()
            return
        data, self._behind = self._behind, b""
        self.flow.release()
        self._read(data)

    @property
    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _should_upgrade(self) -> bool:
        return False

    def _read(self, data: bytes) -> None:
        try:
            while data and not self._lingering and not self.transport.is_closing():
                if self._receiving:
                    data = self._read_body(data)
                elif self._busy:
                    self._behind = data
                    self.flow.hold()
                    return
                else:
                    data = self._read_head(data)
        except Refused as error:
            self._refuse(error.status)
        except MalformedChunks:
            self._refuse(HTTPStatus.BAD_REQUEST)
        self._behind = b""

    def _read_head(self, data: bytes) -> bytes:
        if not self._head:
            data = self._without_stray(data)
            if not data:
                return b""
            self._since = self.loop.time()
        searched = max(0, len(self._head) - len(_HEAD_END))
        self._head += data
        end = self._head.find(_HEAD_END, searched)
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._head) > MAX_HEAD_BYTES):
            raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if not is_plausible(self._head):
            raise Refused(HTTPStatus.BAD_REQUEST)
        if end < 0:
            return b""
        end += len(_HEAD_END)
        head, data, self._head = self._head[:end], self._head[end:], b""
        self._parse(head)
        return data

    def _without_stray(self, data: bytes) -> bytes:
        whole = len(data)
        data = data.lstrip(b"\r\n")
        self._stray_bytes += whole - len(data)
        if self._stray_bytes > _MAX_STRAY_BYTES:
            raise Refused(HTTPStatus.BAD_REQUEST)
        return data

    def _parse(self, head: bytes) -> None:
        """Have the request begin. An offer of another protocol is renamed, and with that declined."""
        self._stray_bytes = 0
        try:
            self.parser.feed_data(without_upgrade(head))
        except httptools.HttpParserUpgrade:
            # CONNECT, which no address answers
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED) from None
        except httptools.HttpParserError as error:
            cause = error.__context__
            raise Refused(cause.status if isinstance(cause, Refused) else HTTPStatus.BAD_REQUEST) from None
        if self._receiving:
            # this one waits for the body
            self.parser = httptools.HttpRequestParser(self)
        else:
            super().on_message_complete()

    def _read_body(self, data: bytes) -> bytes:
        if self._chunks:
            body, data = self._chunks.feed(data)
            whole = self._chunks.done
        else:
            body, data = data[: self._body_left], data[self._body_left :]
            self._body_left -= len(body)
            whole = not self._body_left
        if body:
            self.on_body(body)
        if whole:
            self._receiving = False
            super().on_message_complete()
        return data

    def _answer_is_stuck(self, now: float) -> bool:
        unread = self.transport.get_write_buffer_size()
        if not unread or not self._unread or unread <= self._unread - _PROGRESS_BYTES:
            self._unread, self._unread_since = unread, now
        return now - self._unread_since > self.limits.read_answer

    def _refuse_surplus(self) -> None:
        self._count("too many")
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE)

    def _refuse(self, status: HTTPStatus) -> None:
        self._count(status.phrase.lower())
        self.logger.warning("closed a connection from %s: %s", self._address, status.phrase)
        self._answer(status)

    def _answer(self, status: HTTPStatus) -> None:
        """The last word on this connection, unless an answer has begun."""
        if self.transport.is_closing():
            return
        if self.cycle is None or not self._busy or not self.cycle.response_started:
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
        self._linger()

    def _linger(self) -> None:
        if self.cycle is not None and self._busy:
            # as if the client had left
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._lingering, self._since = True, self.loop.time()
        self._head = self._behind = b""
        self.flow.release()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _count(self, reason: str) -> None:
        self.others.count(reason)


class _Flow(FlowControl):
    """Flow control that reads on only where the protocol lets it, even if the application asks for more."""

    held = False

    def hold(self) -> None:
        """Read nothing until it is released."""
        self.held = True
        self.pause_reading()

    def release(self) -> None:
        """Read on."""
        self.held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        """See uvicorn."""
        if not self.held:
            super().resume_reading()
