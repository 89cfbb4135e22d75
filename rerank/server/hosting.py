"""Installation of the guarded protocol in uvicorn, however uvicorn was started."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rerank.server.connections import Connections, HttpLimits
from rerank.server.protocol import GuardedProtocol, guarded
from rerank.settings import Settings
from rerank.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

logger = logging.getLogger(__name__)


def protocol_for(settings: Settings, metrics: Metrics) -> type[GuardedProtocol]:
    """uvicorn's protocol with the limits of the settings."""
    limits = HttpLimits(settings.receive_timeout, settings.send_timeout)
    return guarded(limits, Connections(settings.max_connections, metrics))


class UnderUvicorn:
    """The app for `uvicorn rerank_server:app`, whose command line has no option for a protocol of ours.

    The ``receive`` of the start belongs to an object that holds uvicorn's configuration, and the configuration is asked
    for its protocol at each connection.
    """

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        self._app = app
        self._protocol = protocol_for(settings, app.state.metrics)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] == "lifespan":
            self._install(receive)
        await self._app(scope, receive, send)

    def _install(self, receive: Receive) -> None:
        config = getattr(getattr(receive, "__self__", None), "config", None)
        if isinstance(config, uvicorn.Config) and config.http_protocol_class is HttpToolsProtocol:
            config.http_protocol_class = self._protocol
            return
        logger.warning(
            "not served by uvicorn with httptools: connections, trailers and the reading of answers have no limits"
        )
