"""`rerank ps`: the models of a running server, as a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from rerank.cli.terminal import CommandFailed, verbatim, wide_console
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

_EPILOG = """
examples:
  rerank ps
  rerank ps --all
  RERANK_API_KEY=a-secret-key rerank ps --url http://gpu-1:8000

exit status:
  0  the table was printed
  1  the server refused
  2  wrong usage or settings
  3  no server answered
"""
_SECONDS = 10

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=verbatim(_EPILOG))
def ps(
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address of the server. Default: this machine and PORT.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show the other models that the server knows, too.")] = False,
) -> None:
    """Show the models that a running server has in memory, loads or fetches: on which device, how large.

    The key is the first of RERANK_API_KEY, otherwise of RERANK_ADMIN_KEY. Proxies are not used.
    """
    settings = read_settings()
    try:
        known = ask(url or _here(settings), _key(settings))
    except ValueError as error:
        raise CommandFailed(str(error), 2) from error
    models = known if every else [model for model in known if _is_active(model)]
    if models:
        _print(table(models, time.time()))
    else:
        print(f"No model is in memory or on its way there. The server knows {len(known)}; --all shows them.")


def _is_active(model: dict[str, Any]) -> bool:
    """True for a model that is in memory, or being loaded or fetched."""
    return model["state"] != "absent" or bool(model.get("download"))


def _print(shown: Table) -> None:
    """Print a table without the blanks that fill its last column."""
    console = wide_console()
    with console.capture() as drawn:
        console.print(shown)
    for line in drawn.get().removesuffix("\n").split("\n"):
        print(line.rstrip())


def ask(url: str, key: str | None) -> list[dict[str, Any]]:
    """The models of the server. Raises CommandFailed, and ValueError for an invalid address."""
    with SyncRerankClient(url, key, timeout=_SECONDS, max_retries=0) as client:
        try:
            # other servers with vLLM's API list models, too, but not their states
            return [model | {"state": model["state"]} for model in client.models()]
        except (ConnectionFailedError, TimeoutFailedError) as error:
            raise CommandFailed(f"no server answers at {url} ({error}); give its address with --url", 3) from error
        except (InvalidResponseError, NotFoundError, KeyError) as error:
            raise CommandFailed(f"the server at {url} is not a rerank-gateway ({error})", 1) from error
        except RerankError as error:
            raise CommandFailed(f"{url} answers {error.status}: {error.message}", 1) from error


def table(models: Sequence[dict[str, Any]], now: float) -> Table:
    """One row per model. Raises CommandFailed for cards of another version."""
    shown = Table(box=None, pad_edge=False)
    for name in ("model", "state", "memory", "device", "precision", "runtime", "load", "last used"):
        shown.add_column(name, justify="right" if name in ("memory", "load") else "left", overflow="fold")
    try:
        for model in models:
            # as text: brackets in a name are no markup
            shown.add_row(*(Text(printable(cell)) for cell in _row(model, now)))
    except (KeyError, TypeError, ValueError) as error:
        raise CommandFailed(f"the server is of another version ({error!r})", 1) from error
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
