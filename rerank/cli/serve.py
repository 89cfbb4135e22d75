"""`rerank-server`: run the server."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

import uvicorn

from rerank.cli.build import app_from_settings
from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop. Exit status 2 if the settings are wrong, 1 if the address cannot be listened on."""
    try:
        settings = read_settings(sys.argv[1:] if arguments is None else arguments)
        app = app_from_settings(settings)
    except SettingsError as error:
        print(f"rerank-server: {error}", file=sys.stderr)
        return 2
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host=settings.listen_host,
            port=settings.port,
            timeout_keep_alive=settings.keep_alive,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            log_config=None,
            access_log=False,
            server_header=False,
        )
    )
    _say_where(settings)
    server.run()
    return 0 if server.started else 1


def _say_where(settings: Settings) -> None:
    host = settings.listen_host
    reach = "this machine only" if host in ("127.0.0.1", "localhost", "::1") else "every machine that can connect"
    logger.info("listening on http://%s:%d for %s", host, settings.port, reach)
