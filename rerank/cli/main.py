"""`rerank-server`: run the server, or one of its commands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from rerank.cli.terminal import escape_what_cannot_be_shown

_COMMANDS = ("verify", "models", "health", "key")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, or the server until it is told to stop; the exit status."""
    escape_what_cannot_be_shown()
    given = sys.argv[1:] if arguments is None else list(arguments)
    # a command imports what it works with, which the server's own start need not wait for
    command, rest = (f"rerank.cli.{given[0]}", given[1:]) if given[:1] and given[0] in _COMMANDS else ("", given)
    return int(importlib.import_module(command or "rerank.server.serve").main(rest))
