"""Request id, log line, metrics and final error handler of every request."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rerank.api.errors import (
    ErrorRenderer,
    error_renderer,
    error_response,
    internal_error_response,
    record_of,
    use_error_renderer,
)
from rerank.api.paths import path_of, settle_path
from rerank.catalog.upstreams import HOPS_HEADER, hops_var
from rerank.errors import AddressTooLong
from rerank.telemetry import request_id_var, seconds_in_stages, stages_var
from rerank.telemetry.events import CLIENT_LEFT, RequestRecord
from rerank.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from rerank.telemetry.spans import Tracing

logger = logging.getLogger("rerank.access")

_SAFE_ID = re.compile(r"[\w.:\-]{1,128}", re.ASCII)
_QUIET_PATHS = frozenset({"/health", "/ready", "/ping", "/load", "/metrics"})
_MAX_TARGET_BYTES = 8192
"""Of path and query string together."""
_SHOWN_PATH = 200
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
}


class ClientLeft(Exception):
    """The client closed the connection before it was answered."""


class RequestContext:
    """Gives each request an id and a log line, and turns an uncaught exception into a 500."""

    def __init__(
        self,
        app: ASGIApp,
        renderer_at: Callable[[str], ErrorRenderer],
        metrics: Metrics,
        tracing: Tracing | None = None,
    ) -> None:
        """``renderer_at``: the renderer of errors at a path."""
        self._app = app
        self._renderer_at = renderer_at
        self._metrics = metrics
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        settle_path(scope)
        use_error_renderer(scope, self._renderer_at(path_of(scope)))
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _SAFE_ID.fullmatch(given) else uuid.uuid4().hex
        tokens = request_id_var.set(request_id), stages_var.set([])
        hops = hops_var.set(_hops(headers.get(HOPS_HEADER, "")))
        try:
            await self._answer(scope, receive, send, request_id)
        finally:
            request_id_var.reset(tokens[0])
            stages_var.reset(tokens[1])
            hops_var.reset(hops)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers.update(_SECURITY_HEADERS)
                headers.update(record_of(scope).headers)
                if spent := seconds_in_stages():
                    for stage, seconds in (spent | {"total": time.perf_counter() - started}).items():
                        headers[f"X-{stage.title()}-Ms"] = f"{seconds * 1000:.1f}"
                # the span ends with the answer
                self._describe(scope, request_id)
            await send(message)

        try:
            await self._app_for(scope)(scope, receive, send_with_id)
        except ClientLeft:
            status = CLIENT_LEFT
            self._describe(scope, request_id)
        except Exception:
            logger.exception("unexpected error")
            if status:
                raise
            await internal_error_response(error_renderer(scope))(scope, receive, send_with_id)
        record = record_of(scope)
        record.status, record.seconds = status, time.perf_counter() - started
        self._count(scope, record)
        _log(scope, record)

    def _app_for(self, scope: Scope) -> ASGIApp:
        if len(scope.get("raw_path") or scope["path"]) + len(scope.get("query_string", b"")) <= _MAX_TARGET_BYTES:
            return self._app
        error = AddressTooLong(f"The address is longer than {_MAX_TARGET_BYTES} bytes. Send the request in the body.")
        return error_response(error, error_renderer(scope))

    def _describe(self, scope: Scope, request_id: str) -> None:
        if self._tracing:
            known = {"request_id": request_id, "dialect": _dialect(scope)} | record_of(scope).facts(by_class=True)
            self._tracing.describe(known, stages_var.get() or ())

    def _count(self, scope: Scope, record: RequestRecord) -> None:
        if not is_quiet(scope):
            record.dialect, record.stages = _dialect(scope), seconds_in_stages()
            self._metrics.observe(record)


def _hops(given: str) -> int:
    """Servers that the request has passed; 0 where the header makes no sense."""
    return int(given) if re.fullmatch("[0-9]{1,3}", given) else 0


def is_quiet(scope: Scope) -> bool:
    """True for endpoints that monitors poll: no log line, no metrics, no span."""
    return path_of(scope) in _QUIET_PATHS


def _dialect(scope: Scope) -> str:
    """The dialect of the body, or else the group of the endpoint, or else "none"."""
    tags = getattr(scope.get("route"), "tags", None)
    return scope.get("state", {}).get("dialect") or (str(tags[0]) if tags else "none")


class HeadAsGet:
    """Answers HEAD like GET, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await self._app({**scope, "method": "GET"}, receive, send_head)


def _log(scope: Scope, record: RequestRecord) -> None:
    level = logging.DEBUG if is_quiet(scope) and record.status < 400 else logging.INFO
    # the query string stays out: it may hold a key
    facts = "".join(f" {name}={value}" for name, value in record.facts().items())
    if record.status >= 400 and scope.get("client"):
        facts += f" client={scope['client'][0]}"
    took = record.seconds * 1000
    logger.log(level, "%s %s %d %.1f ms%s", scope["method"], _printable(path_of(scope)), record.status, took, facts)


def _printable(path: str) -> str:
    """A path that cannot forge a second log line."""
    shown = path if len(path) <= _SHOWN_PATH else path[:_SHOWN_PATH] + "..."
    return ascii(shown)[1:-1] if not shown.isprintable() else shown
