"""The middleware of every application, in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from rerank.access.keyring import Keyring
from rerank.api.auth import RequireKey
from rerank.api.errors import ErrorRenderer
from rerank.api.middleware import HeadAsGet, RequestContext
from rerank.api.origins import Cors, OpenServer, Origins
from rerank.api.receiving import LimitBody, ReadRest
from rerank.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from rerank.telemetry.spans import Tracing


def guard(
    app: Starlette,
    *,
    keyring: Keyring,
    max_body_bytes: int,
    max_inflight_bytes: int | None,
    receive_timeout: float,
    cors_origins: Sequence[str],
    allowed_hosts: Sequence[str],
    open_paths: Collection[str],
    renderer_at: Callable[[str], ErrorRenderer],
    metrics: Metrics,
    tracing: Tracing | None,
) -> None:
    """Put ids, keys and limits of bodies before an application; ``renderer_at``: the renderer of errors at a path."""
    # the last one added is the first to see a request
    app.add_middleware(LimitBody, max_bytes=max_body_bytes, max_held=max_inflight_bytes, patience=receive_timeout)
    app.add_middleware(
        RequireKey,
        keyring=keyring,
        open_server=OpenServer(Origins(cors_origins), allowed_hosts),
        open_paths=frozenset(open_paths),
    )
    if cors_origins:
        # outside of the guard: a browser asks without the key whether it may send it
        app.add_middleware(Cors, origins=cors_origins)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestContext, renderer_at=renderer_at, metrics=metrics, tracing=tracing)
    # outside of what is logged and timed
    app.add_middleware(ReadRest, max_bytes=max_body_bytes, patience=receive_timeout)
