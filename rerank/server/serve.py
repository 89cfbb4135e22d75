"""The server process: start, graceful shutdown, exit."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import nullcontext
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from rerank import garbage
from rerank.errors import SettingsError
from rerank.server.hosting import protocol_for
from rerank.server.workers import refuse_several_workers
from rerank.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from rerank.api.services import Services
    from rerank.server.build import Prepared

logger = logging.getLogger(__name__)

_CLOSING_SECONDS = 5
"""Seconds to send the last responses and close connections, after the drain."""
_SWITCH_SECONDS = 0.0005
_ORDINARY_SWITCH_SECONDS = sys.getswitchinterval()


def main(settings: Settings) -> int:
    """Run until stopped; the exit status. Raises SettingsError."""
    refuse_several_workers()
    _check_host(settings)
    _hasten()
    # importing the engine takes most of a second, which a wrong setting need not wait for
    from rerank.server.build import prepare

    prepared = prepare(settings)
    guarded = prepared.keyring.guarded
    host = settings.listen_host(guarded=guarded)
    _check_port(host, settings.port)
    server = _Server(prepared, host)
    _say_where(host, settings.port, guarded=guarded)
    if settings.pages:
        _name_the_pages(host, settings.port)
    # uvicorn raises the signal that stopped it again; a requested stop is no failure
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, server.leave)
    server.run()
    _exit_at_once_if_busy()
    return 0


def _hasten() -> None:
    """Spend less on what a start repeats, until it is over.

    Searching for garbage among imports, which stay, takes a tenth of it. And a thread that loads a model waits for
    Python's lock after each file it reads, for 5 ms at a time while another one imports.
    """
    garbage.pause()
    sys.setswitchinterval(_SWITCH_SECONDS)


def _stop_hastening() -> None:
    garbage.spare_what_is_there()
    garbage.search_rarely()
    garbage.resume()
    sys.setswitchinterval(_ORDINARY_SWITCH_SECONDS)


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


def _check_port(host: str, port: int) -> None:
    """Raise SettingsError for a port that is taken or not allowed, of which uvicorn says no more than its number."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, _, _, _, address in found:
        try:
            # with the options that uvicorn sets
            socket.create_server(address, family=family).close()
        except OSError as error:
            # what else is wrong with it uvicorn says
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                why = "is used by another program" if error.errno == errno.EADDRINUSE else "is not allowed to this user"
                raise SettingsError(
                    f"RERANK_PORT / PORT: port {port} of {host} {why}. Choose another one, as in `--port 8001`."
                ) from error


class _Server(uvicorn.Server):
    """uvicorn with a drain: on shutdown, in-flight requests may finish and new ones are answered 503."""

    _services: Services

    def __init__(self, prepared: Prepared, host: str) -> None:
        settings = prepared.settings
        config = uvicorn.Config(
            self._app,
            factory=True,
            host=host,
            port=settings.port,
            timeout_keep_alive=settings.http_keep_alive,
            timeout_graceful_shutdown=_CLOSING_SECONDS,
            log_config=None,
            access_log=False,
            server_header=False,
            # anyone can send these headers
            proxy_headers=False,
            http=protocol_for(settings, prepared.metrics),
            ws="none",
        )
        super().__init__(config)
        self._prepared = prepared

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve while the services run. They are opened first, so that a model loads while the rest is imported."""
        from rerank.server.build import open_services

        # closing them is part of what a second signal ends
        with self.capture_signals():
            async with open_services(self._prepared) as self._services:
                await self._serve(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        _stop_hastening()

    def _app(self) -> FastAPI:
        from rerank.server.build import app_around

        return app_around(lambda: nullcontext(self._services), self._prepared)

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
        seconds = self._prepared.settings.drain_timeout
        if requests := self._services.gateway.admission.requests:
            logger.info(
                "shutting down: waiting up to %g s for %d in-flight requests; a second signal exits at once",
                seconds,
                requests,
            )
        await self._services.drain(seconds)
        await super().shutdown(sockets)


def _exit_at_once_if_busy() -> None:
    """Exit without waiting for threads inside native libraries, which crash when the interpreter ends."""
    if any(thread.name.startswith(("load-", "device-")) for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(0)


def _name_the_pages(host: str, port: int) -> None:
    # browsers do not open an address that stands for all
    shown = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host  # noqa: S104  # nosec B104
    logger.info("pages for browsers: http://%s:%d/playground and /admin", shown, port)


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
