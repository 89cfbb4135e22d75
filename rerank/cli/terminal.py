"""Output of commands on whatever terminal there is."""

from __future__ import annotations

import io
import sys


def escape_what_cannot_be_shown() -> None:
    """Have characters that the terminal's encoding lacks printed as escapes, instead of a UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
