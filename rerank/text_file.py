"""A text file that anybody may have written: read whole, within a limit, or refused for what it is."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class UnfitFile(ValueError):
    """The file is not what it should be; the message continues the file's name."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file, open for reading. Raises UnfitFile, and OSError where it cannot be read.

    A named pipe or a device is refused rather than waited for.
    """
    # without O_NONBLOCK opening a pipe would wait for its other end for ever
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UnfitFile("is not a regular file")
    return file


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes. Raises UnfitFile, and OSError where it cannot be read.

    A named pipe or a device is refused rather than waited for.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UnfitFile(f"is larger than {limit / 1e6:g} MB")
    return content


def read_text(path: Path, limit: int) -> str:
    """The file as text, without a byte order mark. Raises UnfitFile and OSError."""
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnfitFile(f"is not UTF-8 ({error})") from error


def parse_json(text: str | bytes, *, strict: bool = False) -> Any:
    """The text as JSON. Raises UnfitFile, also for one nested too deeply to be read; ``strict``: also for NaN."""
    try:
        return json.loads(text, parse_constant=_refuse if strict else None)
    except RecursionError:
        raise UnfitFile("is not JSON (nested too deeply)") from None
    except ValueError as error:
        raise UnfitFile(f"is not JSON ({error})") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")


def read_json(path: Path, limit: int) -> Any:
    """The file as JSON. Raises UnfitFile and OSError."""
    return parse_json(read_text(path, limit))
