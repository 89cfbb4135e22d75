"""`rerank-server`: run the server, or one of its commands."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence

import uvicorn

from rerank.api.services import Services
from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 5
"""For running requests to end by themselves, before those that wait are told to go."""
_HARD_STOP_SECONDS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop. Exit status: 0 stopped, 2 wrong settings, 3 the address cannot be listened on."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given[:1] == ["verify"]:
        # the command imports what it verifies with, which the server's own start need not wait for
        from rerank.cli import verify

        return verify.main(given[1:])
    if given[:1] == ["models"]:
        from rerank.cli import models

        return models.main(given[1:])
    try:
        settings = read_settings(given)
        # importing torch takes seconds, which `--help` and a wrong setting need not wait for
        from rerank.cli.build import app_from_settings

        app = app_from_settings(settings)
    except SettingsError as error:
        print(f"rerank-server: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.listen_host,
            port=settings.port,
            timeout_keep_alive=settings.http_keep_alive,
            timeout_graceful_shutdown=_HARD_STOP_SECONDS,
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )
    _say_where(settings)
    # uvicorn raises the signal that stopped it once more; a stop that was asked for is no failure
    for asked in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked, lambda *_: None)
    server.run()
    _leave_at_once_if_busy()
    return 0


class _Server(uvicorn.Server):
    """uvicorn, but what still waits after a short grace is answered 503 instead of being cut off."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop taking requests, let the running ones end, then end them."""
        ending = asyncio.create_task(self._end_waiting_work())
        await super().shutdown(sockets)
        ending.cancel()

    async def _end_waiting_work(self) -> None:
        await asyncio.sleep(_GRACE_SECONDS)
        services: Services = self.config.app.state.services  # type: ignore[union-attr]
        services.stop()


def _leave_at_once_if_busy() -> None:
    """A thread inside a native library survives neither the end of the interpreter nor waiting for it."""
    if any(thread.name.startswith(("load-", "device-")) for thread in threading.enumerate()):
        logging.shutdown()
        os._exit(0)


def _say_where(settings: Settings) -> None:
    host, port = settings.listen_host, settings.port
    if host in ("127.0.0.1", "localhost", "::1"):
        logger.info("listening on http://%s:%d, for this machine only", host, port)
    elif settings.api_keys:
        logger.info("listening on http://%s:%d, for everyone with a key", host, port)
    else:
        logger.warning("listening on http://%s:%d, for everyone who can connect: RERANK_API_KEY is not set", host, port)
