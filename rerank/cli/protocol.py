"""uvicorn's HTTP, with a limit on how long and how large the head of a request may be."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536


def impatient(head_timeout: float) -> type[ImpatientProtocol]:
    """The protocol with so many seconds for a head; uvicorn makes one for each connection and passes no settings."""
    return type("ImpatientProtocol", (ImpatientProtocol,), {"head_timeout": head_timeout})


class ImpatientProtocol(HttpToolsProtocol):
    """Closes a connection whose next request's head does not come, or does not end.

    Between two requests of a connection uvicorn's own keep-alive timeout counts; from the first byte on, this one.
    """

    head_timeout = 30.0
    """Seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._timer: asyncio.TimerHandle | None = None
        self._head_bytes: int | None = 0
        """Of the head that is being read; None while a body is."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        super().data_received(data)
        if self._head_bytes is not None and self._timer:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """See httptools."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._stop_timer()
        self._head_bytes = None
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._stop_timer()
        self._head_bytes = 0
        self._timer = self.loop.call_later(self.head_timeout, self._refuse, HTTPStatus.REQUEST_TIMEOUT)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: HTTPStatus) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.logger.warning("closed a connection: %s", status.phrase)
            head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.transport.write(head.encode())
            self.transport.close()
