"""Errors, help text and output shared by all commands."""

from __future__ import annotations

import io
import sys


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
