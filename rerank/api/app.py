"""The web application: endpoints, middleware in order, error table."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.telemetry import TelemetryConfig
from fastapi_offline import FastAPIOffline

import rerank
from rerank.access.keyring import Keyring
from rerank.api import admin, models, status
from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.main import MainDialect, dialects, error_renderers
from rerank.api.errors import add_error_handlers
from rerank.api.guard import guard
from rerank.api.load import load_router
from rerank.api.middleware import is_quiet
from rerank.api.pages.router import router as pages_router
from rerank.api.services import Services
from rerank.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from rerank.telemetry.spans import Tracing

_DESCRIPTION = """Rerank documents with local models, in the formats of vLLM's, Jina's, Cohere's and other rerank APIs.

Every example on this page can be sent as it stands: open an endpoint, press *Try it out*, then *Execute*."""


OpenServices = Callable[[], AbstractAsyncContextManager[Services]]
"""Starts the services; they run for as long as the context is open."""


def build_app(
    open_services: OpenServices,
    *,
    keyring: Keyring,
    max_body_bytes: int,
    max_inflight_bytes: int | None = None,
    main_dialect: MainDialect = MainDialect.VLLM,
    metrics: Metrics | None = None,
    open_paths: Collection[str] = (),
    pages: bool = True,
    tokenizer_info: bool = False,
    receive_timeout: float = 30.0,
    cors_origins: Sequence[str] = (),
    allowed_hosts: Sequence[str] = (),
    tracing: Tracing | None = None,
) -> FastAPI:
    """The application around the services that ``open_services`` starts.

    ``open_paths`` need no key, in addition to those that never do; without ``pages`` there is no page for people.
    """
    make: Callable[..., FastAPI] = FastAPIOffline if pages else partial(FastAPI, openapi_url=None)
    app = make(
        title="Rerank gateway",
        description=_DESCRIPTION,
        version=rerank.__version__,
        lifespan=_lifespan(open_services),
        redirect_slashes=False,
        telemetry=request_telemetry(tracing),
    )
    metrics = metrics or Metrics()
    app.state.metrics = metrics
    app.state.keyring = keyring
    app.state.max_body_bytes = max_body_bytes
    app.state.pages = pages
    app.state.open_metrics = "/metrics" in open_paths
    spoken = dialects(main_dialect, tokenizer_info=tokenizer_info)
    bare = main_dialect is MainDialect.STRICT_VLLM
    _include(app, spoken, status.health_router(bare=bare), load_router(bare=bare))
    if pages:
        app.router.routes.extend(pages_router.routes)
    add_error_handlers(app)
    _describe(app, keyring)
    guard(
        app,
        keyring=keyring,
        max_body_bytes=max_body_bytes,
        max_inflight_bytes=max_inflight_bytes,
        receive_timeout=receive_timeout,
        cors_origins=cors_origins,
        allowed_hosts=allowed_hosts,
        open_paths=open_paths,
        renderer_at=error_renderers(spoken),
        metrics=metrics,
        tracing=tracing,
    )
    return app


def _lifespan(open_services: OpenServices) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_services() as services:
            app.state.services = services
            yield

    return lifespan


def _include(app: FastAPI, spoken: Sequence[Dialect], *varying: APIRouter) -> None:
    of_dialects = [router for dialect in spoken for router in dialect.routers]
    for router in (*of_dialects, admin.router, models.router, status.router, *varying):
        # including them would build every route again at the first request
        app.router.routes.extend(router.routes)


def request_telemetry(tracing: Tracing | None) -> TelemetryConfig:
    """FastAPI's own telemetry: spans of requests if tracing is on, and nothing else, whatever is configured.

    By default it exports whole query strings, with keys in them, as ``FASTAPI_OTEL_AUTO_CONFIGURE`` says.
    """
    return {
        "tracing": tracing is not None,
        "tracer_provider": tracing.provider if tracing else None,
        "exclude": is_quiet,
        "operation_spans": False,
        "metrics": False,
        "logs": False,
        "auto_configure": False,
    }


def _describe(app: FastAPI, keyring: Keyring) -> None:
    """Correct the OpenAPI document: an invalid body is a 400, not a 422, and a key may be needed."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        for operations in schema["paths"].values():
            for operation in operations.values():
                # TEI's dialect has a 422 of its own
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
        if keyring.guarded:
            schema.setdefault("components", {})["securitySchemes"] = {
                "key": {"type": "http", "scheme": "bearer", "description": "One of RERANK_API_KEY or of the keys file."}
            }
            schema["security"] = [{"key": []}]
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
