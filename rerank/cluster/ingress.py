"""The process before the replicas, under Ray Serve: it reads a request's body once and has the router choose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rerank.api.app import request_telemetry
from rerank.api.bodies import BodyBounds
from rerank.api.dialects.main import MainDialect, dialects, error_renderers
from rerank.api.guard import guard
from rerank.cluster.asking import Cluster, ReplicaLost
from rerank.cluster.calls import Answer, Call
from rerank.cluster.configured import Configured
from rerank.cluster.desk import DESK
from rerank.cluster.everywhere import Everywhere
from rerank.cluster.front import Front
from rerank.cluster.needs import needed
from rerank.cluster.wishes import Reader, Wish
from rerank.errors import OutOfOrder
from rerank.settings import Settings, prepare_libraries
from rerank.telemetry import configure_logging
from rerank.telemetry.metrics import Metrics
from rerank.telemetry.tracing import open_tracing

if TYPE_CHECKING:
    from rerank.telemetry.spans import Tracing

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 30
"""In addition to what a replica allows a request: after that no replica has taken it."""
_MAX_BROADCASTS = 8
"""Requests for all replicas at a time: some need no key."""


class RayCluster:
    """The replicas behind a handle of Ray Serve."""

    def __init__(self, handle: Any, seconds: float) -> None:
        """``seconds``: maximum time of one try."""
        self._handle = handle
        self._seconds = seconds
        serve, ray = needed("ray.serve.exceptions"), needed("ray.exceptions")
        self._lost = (
            ray.RayActorError,
            ray.ObjectLostError,
            # by a replica that ends; what is cancelled here raises another error
            ray.TaskCancelledError,
            serve.ReplicaUnavailableError,
            serve.DeploymentUnavailableError,
        )
        self._reads = asyncio.Semaphore(_MAX_BROADCASTS)
        # a load may take minutes, which no probe should wait for
        self._changes = asyncio.Semaphore(_MAX_BROADCASTS)
        self._loads: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        DESK.load = lambda replica, model: (loop.call_soon_threadsafe(self._load, replica, model), None)[1]

    def names(self) -> Sequence[str]:
        """See ``Cluster``."""
        return DESK.names

    async def ask(self, wish: Wish, call: Call) -> Answer:
        """See ``Cluster``."""
        response = self._handle.answer.remote(wish, call)
        try:
            async with asyncio.timeout(self._seconds):
                answer: Answer = await response
        except TimeoutError:
            response.cancel()
            raise OutOfOrder(f"no replica answered within {self._seconds:g} s") from None
        except asyncio.CancelledError:
            response.cancel()
            raise
        except self._lost as error:
            raise ReplicaLost(type(error).__name__) from error
        return answer

    async def ask_all(self, call: Call) -> Sequence[Answer]:
        """See ``Cluster``."""
        try:
            async with asyncio.timeout(self._seconds), self._reads if call.scope["method"] == "GET" else self._changes:
                everyone = self._handle.broadcast("answer", Wish(), call)
                results = await everyone.results_async(timeout_s=self._seconds, return_exceptions=True)
        except self._lost:
            return []
        except TimeoutError:
            raise OutOfOrder(f"the replicas did not all answer within {self._seconds:g} s") from None
        return sorted((each for each in results if isinstance(each, Answer)), key=lambda answer: answer.replica)

    def _load(self, replica: str, model: str) -> None:
        task = asyncio.ensure_future(self._loaded(replica, model))
        self._loads.add(task)
        task.add_done_callback(self._loads.discard)

    async def _loaded(self, replica: str, model: str) -> None:
        try:
            await self._handle.load.remote(Wish(model, only=replica), model)
        except self._lost:
            logger.info("loading %s ahead was not finished: the replica was lost", model)


class Ingress:
    """What Ray calls: it makes the application that Ray then runs."""

    async def __init__(self, handle: Any, settings: Settings) -> None:  # type: ignore[misc]
        """``handle``: of the replicas. Raises SettingsError."""
        prepare_libraries()
        configure_logging(settings.log_level, settings.log_format)
        self._configured, self._tracing = Configured(settings), open_tracing()
        cluster = RayCluster(handle, settings.timeout + _GRACE_SECONDS)
        self._app = without_id(front_app(cluster, settings, self._configured, self._tracing))
        # a handle learns of the replicas when it is first used
        await handle.find.remote(Wish())

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """See ``ray.serve.ingress``."""
        return self._app

    async def reload(self) -> bool:
        """Read models file and keys file again; see `Configured.reload`."""
        return self._configured.reload()

    async def __del__(self) -> None:
        """Send the last spans."""
        if tracing := getattr(self, "_tracing", None):
            await asyncio.to_thread(tracing.close)


def without_id(app: ASGIApp) -> ASGIApp:
    """The application without the header of the request's id, which Ray's proxy adds to every answer."""

    async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_without_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message["headers"] if header[0].lower() != b"x-request-id"]
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, send_without_id)

    return asgi


def front_app(cluster: Cluster, settings: Settings, configured: Configured, tracing: Tracing | None = None) -> FastAPI:
    """The application before the replicas."""
    metrics = Metrics()
    reader = Reader(configured.models.find, BodyBounds(settings.max_documents, settings.max_body_bytes))
    app = FastAPI(openapi_url=None, telemetry=request_telemetry(tracing))
    app.router.default = Front(cluster, reader, Everywhere(cluster, reader, metrics.exposition).answer)
    spoken = dialects(MainDialect(settings.dialect), tokenizer_info=settings.enable_tokenizer_info_endpoint)
    guard(
        app,
        keyring=configured.keyring,
        max_body_bytes=settings.max_body_bytes,
        max_inflight_bytes=settings.max_inflight_bytes,
        receive_timeout=settings.receive_timeout,
        cors_origins=settings.allowed_origins,
        allowed_hosts=settings.host_names,
        open_paths=("/metrics",) if settings.open_metrics else (),
        renderer_at=error_renderers(spoken),
        metrics=metrics,
        tracing=tracing,
    )
    return app
