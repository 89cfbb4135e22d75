"""`rerank-server models`: the models of a running server, as a table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import requests
from rich.console import Console
from rich.table import Table

from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings
from rerank.units import human_size

_EPILOG = """\
The key is the first of RERANK_API_KEY, else of RERANK_ADMIN_KEY.

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
    parser.add_argument("--url", help="address of the server (default: http://127.0.0.1 and PORT)")
    url = parser.parse_args(arguments).url
    try:
        settings = read_settings()
        models = ask(url or f"http://127.0.0.1:{settings.port}", _key(settings))
    except SettingsError as error:
        print(f"rerank-server models: {error}", file=sys.stderr)
        return 2
    except NoAnswer as error:
        print(f"rerank-server models: {error}", file=sys.stderr)
        return error.status
    Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH).print(table(models, time.time()))
    return 0


def ask(url: str, key: str | None) -> list[dict[str, Any]]:
    """The server's models. Raises NoAnswer."""
    address = f"{url.rstrip('/')}/v1/models"
    try:
        response = requests.get(address, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=_SECONDS)
    except requests.RequestException as error:
        raise NoAnswer(
            f"no server answers at {url} ({type(error).__name__}); give its address with --url", 3
        ) from error
    try:
        body = response.json()
        if not response.ok:
            raise NoAnswer(f"{address} answers {response.status_code}: {body['message']}", 1)
        # any server of vLLM's kind has models, but not their states
        return [model | {"state": model["state"]} for model in body["data"]]
    except (ValueError, KeyError, TypeError) as error:
        raise NoAnswer(f"what answers at {url} is no rerank-server ({response.status_code})", 1) from error


def table(models: Sequence[dict[str, Any]], now: float) -> Table:
    """One line a model: where it is, what it takes, when it was last used."""
    shown = Table(box=None, pad_edge=False)
    for name in ("model", "state", "memory", "device", "precision", "runtime", "load", "last used"):
        shown.add_column(name, justify="right" if name in ("memory", "load") else "left", overflow="fold")
    for model in models:
        shown.add_row(
            model["id"],
            model["state"] + (" (pinned)" if model["pinned"] else ""),
            _memory(model),
            model["device"] or "-",
            model["precision"] or "-",
            model["runtime"] or "-",
            "-" if model["load_seconds"] is None else f"{model['load_seconds']:.1f} s",
            "-" if model["last_used"] is None else f"{_ago(now - model['last_used'])} ago",
        )
    return shown


def _memory(model: dict[str, Any]) -> str:
    if model["bytes"] is None:
        return "-"
    return ("" if model["bytes_measured"] else "about ") + human_size(model["bytes"])


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _key(settings: Settings) -> str | None:
    return next(iter((*settings.api_keys, *settings.admin_keys)), None)
