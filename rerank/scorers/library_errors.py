"""Errors of libraries, as clients may see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_SHOWN = 400
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z`'\"])")


def shown_error(error: Exception, folder: Path) -> str:
    """The part of an error that clients may see: its first whole sentences, without the path of the model's folder."""
    text = _said(error).replace(str(folder), folder.name).strip()
    shown, *others = _SENTENCE_END.split(" ".join(_before_lists(text))) if text else [type(error).__name__]
    for sentence in others:
        if len(shown) + len(sentence) > _SHOWN:
            break
        shown += f" {sentence}"
    return shown[: 2 * _SHOWN].rstrip(".:!")


def _said(error: Exception) -> str:
    # its text is the name alone
    return f"nothing is known under the name {error}" if isinstance(error, KeyError) else str(error)


def _before_lists(text: str) -> Iterator[str]:
    """The first lines of an error, up to a colon that announces lines of code, or a list.

    Of an error that is nothing else, the first of what is announced too.
    """
    lines = text.splitlines()
    for place, line in enumerate(lines):
        if not line.strip():
            return
        if line.rstrip().endswith(":"):
            *whole, announcing = _SENTENCE_END.split(line.strip())
            yield from whole or ([] if place else [announcing, *map(str.strip, lines[1:2])])
            return
        yield line.strip()
