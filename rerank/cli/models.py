"""`rerank-server models`: the models of a running server, as a table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings
from rerank.units import human_size
from rerank_client import (
    ConnectionFailedError,
    InvalidResponseError,
    NotFoundError,
    RerankError,
    SyncRerankClient,
    TimeoutFailedError,
    printable,
)

_EPILOG = """\
The key is the first of RERANK_API_KEY, else of RERANK_ADMIN_KEY. Proxies are not used.

exit status: 0 the table was printed, 1 the server refused, 2 wrong usage or settings, 3 no server answered
"""
_SECONDS = 10
_WIDTH = 200
"""Columns where the output is no terminal."""


class NoAnswer(Exception):
    """The table cannot be had; the message says why, ``status`` is the command's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def main(arguments: Sequence[str]) -> int:
    """Ask the server and print; the exit status is told in ``--help``."""
    parser = argparse.ArgumentParser(
        prog="rerank-server models",
        description="Show which models a running server has in memory, and what they take.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help="address of the server (default: this machine and PORT)")
    url = parser.parse_args(arguments).url
    try:
        settings = read_settings()
        shown = table(ask(url or _here(settings), _key(settings)), time.time())
    except (SettingsError, ValueError) as error:
        print(f"rerank-server models: {error}", file=sys.stderr)
        return 2
    except NoAnswer as error:
        print(f"rerank-server models: {printable(str(error))}", file=sys.stderr)
        return error.status
    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH).print(shown)
    return 0


def ask(url: str, key: str | None) -> list[dict[str, Any]]:
    """The server's models. Raises NoAnswer, and ValueError for an address that cannot be a server's."""
    with SyncRerankClient(url, key, timeout=_SECONDS, max_retries=0) as client:
        try:
            # any server of vLLM's kind has models, but not their states
            return [model | {"state": model["state"]} for model in client.models()]
        except (ConnectionFailedError, TimeoutFailedError) as error:
            raise NoAnswer(f"no server answers at {url} ({error}); give its address with --url", 3) from error
        except (InvalidResponseError, NotFoundError, KeyError) as error:
            raise NoAnswer(f"what answers at {url} is no rerank-server ({error})", 1) from error
        except RerankError as error:
            raise NoAnswer(f"{url} answers {error.status}: {error.message}", 1) from error


def table(models: Sequence[dict[str, Any]], now: float) -> Table:
    """One line a model: where it is, what it takes, when it was last used. Raises NoAnswer for what is no card."""
    shown = Table(box=None, pad_edge=False)
    for name in ("model", "state", "memory", "device", "precision", "runtime", "load", "last used"):
        shown.add_column(name, justify="right" if name in ("memory", "load") else "left", overflow="fold")
    try:
        for model in models:
            # as text: brackets in a name are no markup
            shown.add_row(*(Text(printable(cell)) for cell in _row(model, now)))
    except (KeyError, TypeError, ValueError) as error:
        raise NoAnswer(f"the server's cards are not this version's ({error!r})", 1) from error
    return shown


def _row(model: dict[str, Any], now: float) -> tuple[str, ...]:
    return (
        str(model["id"]),
        str(model["state"]) + (" (pinned)" if model["pinned"] else ""),
        _memory(model),
        str(model["device"] or "-"),
        str(model["precision"] or "-"),
        str(model["runtime"] or "-"),
        "-" if model["load_seconds"] is None else f"{model['load_seconds']:.1f} s",
        "-" if model["last_used"] is None else f"{_ago(now - model['last_used'])} ago",
    )


def _memory(model: dict[str, Any]) -> str:
    if model["bytes"] is None:
        return "-"
    return ("" if model["bytes_measured"] else "about ") + human_size(model["bytes"])


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _here(settings: Settings) -> str:
    host = settings.local_host
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _key(settings: Settings) -> str | None:
    return next(iter((*settings.api_keys, *settings.admin_keys)), None)
