"""Errors, help text and output shared by all commands."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 200
"""Columns if the output is no terminal."""


class CommandFailed(Exception):
    """An error that ends the command with this message and exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def complain(message: str) -> None:
    """Print an error."""
    # it brings an HTTP client, which a server does not need
    from rerank_client import printable

    print(f"rerank: {printable(message)}", file=sys.stderr)


def verbatim(text: str) -> str:
    """Help text whose lines are kept as they are."""
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.strip("\n").split("\n\n"))


def escape_what_cannot_be_shown() -> None:
    """Print characters that the terminal's encoding lacks as escapes, instead of raising UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def wide_console() -> Console:
    """A console on stdout, for tables: as wide as the terminal or COLUMNS says, else wide enough not to fold."""
    # it takes a tenth of a second to import
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDTH, highlight=False)
