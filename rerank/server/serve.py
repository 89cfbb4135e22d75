"""The server process: start, graceful shutdown, exit."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from types import FrameType

import uvicorn

from rerank.api.services import Services
from rerank.errors import SettingsError
from rerank.server.hosting import protocol_for
from rerank.server.workers import refuse_several_workers
from rerank.settings import Settings

logger = logging.getLogger(__name__)

_CLOSING_SECONDS = 5
"""Seconds to send the last responses and close connections, after the drain."""


def main(settings: Settings) -> int:
    """Run until stopped. Exit status: 0 stopped, 3 the address cannot be listened on. Raises SettingsError."""
    refuse_several_workers()
    _check_host(settings)
    # importing torch takes seconds, which a wrong setting need not wait for
    from rerank.server.build import app_from_settings

    app = app_from_settings(settings)
    guarded = app.state.keyring.guarded
    host = settings.listen_host(guarded=guarded)
    server = _Server(
        uvicorn.Config(
            app,
            host=host,
            port=settings.port,
            timeout_keep_alive=settings.http_keep_alive,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
            log_config=None,
            access_log=False,
            server_header=False,
            # anyone can send these headers
            proxy_headers=False,
            http=protocol_for(settings, app.state.metrics),
            ws="none",
        ),
        settings.drain_timeout,
    )
    _say_where(host, settings.port, guarded=guarded)
    # uvicorn raises the signal that stopped it again; a requested stop is no failure
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, server.leave)
    server.run()
    _exit_at_once_if_busy()
    return 0


def _check_host(settings: Settings) -> None:
    """Raise SettingsError for a name without an address: conda sets HOST to its compiler's platform."""
    if settings.host is None:
        return
    try:
        socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a name of a host"
        raise SettingsError(
            f"RERANK_HOST / HOST: {settings.host} cannot be listened on: {reason}. Other programs use HOST, too; "
            "RERANK_HOST wins over it."
        ) from error


class _Server(uvicorn.Server):
    """uvicorn with a drain: on shutdown, in-flight requests may finish and new ones are answered 503."""

    def __init__(self, config: uvicorn.Config, drain_seconds: float) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Shut down; a second signal exits at once."""
        if self.should_exit:
            try:
                logging.shutdown()
            finally:
                # a signal may come in the middle of a log line, where nothing can be flushed
                os._exit(128 + sig)
        super().handle_exit(sig, frame)

    def leave(self, *_: object) -> None:
        """Signal handler for the time before uvicorn installs its own, and after."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then close."""
        services: Services = self.config.app.state.services  # type: ignore[union-attr]
        if services.gateway.admission.requests:
            logger.info(
                "shutting down: waiting up to %g s for %d in-flight requests; a second signal exits at once",
                self._drain_seconds,
                services.gateway.admission.requests,
            )
        await services.drain(self._drain_seconds)
        await super().shutdown(sockets)


def _exit_at_once_if_busy() -> None:
    """Exit without waiting for threads inside native libraries, which crash when the interpreter ends."""
    if any(thread.name.startswith(("load-", "device-")) for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(0)


def _say_where(host: str, port: int, *, guarded: bool) -> None:
    shown = f"[{host}]" if ":" in host else host
    if host in ("127.0.0.1", "localhost", "::1"):
        logger.info("listening on http://%s:%d, for this machine only", shown, port)
    elif guarded:
        logger.info("listening on http://%s:%d, for everyone with a key", shown, port)
    else:
        logger.warning(
            "listening on http://%s:%d, for everyone who can connect: neither RERANK_API_KEY nor a keys file is set",
            shown,
            port,
        )
