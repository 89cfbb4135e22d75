"""What all commands share: their errors, and their output on any terminal."""

from __future__ import annotations

import io
import sys

from rerank_client import printable


class CommandFailed(Exception):
    """The command ends with this message and exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def complain(message: str) -> None:
    """Print an error."""
    print(f"rerank: {printable(message)}", file=sys.stderr)


def verbatim(text: str) -> str:
    """Help text whose lines are not joined and wrapped."""
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in text.strip("\n").split("\n\n"))


def escape_what_cannot_be_shown() -> None:
    """Have characters that the terminal's encoding lacks printed as escapes, instead of a UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
