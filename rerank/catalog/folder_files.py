"""Files of a checkpoint folder: read within limits, and named in errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rerank.errors import WeightsBroken
from rerank.text_file import UnfitFile, read_json

MOST_BYTES = 32_000_000
"""Of a configuration, an index or a template; the largest published ones have a few million."""


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object. Raises WeightsBroken."""
    with reading(file):
        content = read_json(file, MOST_BYTES)
    if not isinstance(content, dict):
        raise broken(file, "is not a JSON object")
    return content


def read_optional(file: Path) -> dict[str, Any]:
    """The same, empty if there is no such file."""
    return read_object(file) if file.is_file() else {}


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Raises WeightsBroken for what cannot be read of a file."""
    try:
        yield
    except UnfitFile as error:
        raise broken(file, str(error)) from error
    except FileNotFoundError:
        raise broken(file, "is missing") from None
    except OSError as error:
        raise broken(file, f"cannot be read ({error.strerror})") from error


def shown(file: Path) -> str:
    """A path that identifies a file or folder without revealing the server's folders to clients."""
    return f"{file.parent.name}/{file.name}"


def broken(file: Path, what: str) -> WeightsBroken:
    """The error for a file, which ``what`` continues."""
    return WeightsBroken(f"{shown(file)} {what}")
