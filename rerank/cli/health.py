"""`rerank-server health`: does the server on this machine say that it is alive? For the image's health check.

Run as `python -m rerank.cli.health` it is done in half a second: it imports nothing but the settings.
"""

from __future__ import annotations

import argparse
import http.client
import sys
from collections.abc import Sequence

from rerank.errors import SettingsError
from rerank.settings import read_settings

_EPILOG = "exit status: 0 it is alive, 1 it says what is wrong, 2 wrong usage or settings, 3 no server answers"
_SECONDS = 4
_SHOWN_BYTES = 500


def main(arguments: Sequence[str]) -> int:
    """Ask the port and address that the settings name, never through a proxy; the exit status is told in ``--help``."""
    parser = argparse.ArgumentParser(
        prog="rerank-server health",
        description="Ask the server on this machine whether it is alive.",
        epilog=_EPILOG,
    )
    parser.parse_args(arguments)
    try:
        settings = read_settings()
        status, body = _ask(settings.local_host, settings.port)
    except SettingsError as error:
        print(f"rerank-server health: {error}", file=sys.stderr)
        return 2
    except (OSError, http.client.HTTPException) as error:
        print(f"rerank-server health: no server answers on port {settings.port}: {error}", file=sys.stderr)
        return 3
    print(f"{status} {body!a}")
    return 0 if status == http.client.OK else 1


def _ask(host: str, port: int) -> tuple[int, str]:
    # unlike urllib and requests this module knows no proxies
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, answer.read(_SHOWN_BYTES).decode("utf-8", "replace")
    finally:
        connection.close()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
