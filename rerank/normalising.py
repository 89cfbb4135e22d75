"""Unicode NFKC with one kind of white space and of quotation marks. Pure; ASCII stays as it is."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

REPLACED = {
    " ": "\u1680",
    "\n": "\x85\u2028\u2029",
    "'": "\u2018\u2019\u201a\u201b\u2039\u203a",
    '"': "\u00ab\u00bb\u201c\u201d\u201e\u201f\u2e42\u300c\u300d\u300e\u300f\u301d\u301e\u301f",
}
"""White space and quotation marks that NFKC leaves as they are, by what replaces them."""
_TABLE = str.maketrans({one: replacement for replacement, found in REPLACED.items() for one in found})
_SLICE = 4096
"""Characters that are normalised at once."""
_NEAR = 32
"""Characters before the end of a slice that are searched for a seam, and that are looked at on both sides of one."""
_MOST_GROWTH = 4
_SLACK = 1024
_MOST_MARKS = 64
_MARK = "\u0300"
_LONG_ROW = re.compile(f"{_MARK * (_MOST_MARKS + 1)}{_MARK}*")
"""To put a row of marks into order takes the square of its length."""


class UnfitText(ValueError):
    """A text takes too much to be normalised; the message continues "it"."""


def normalised(text: str) -> str:
    """The text with one form of each character. Raises UnfitText."""
    if text.isascii():
        return text
    parts: list[str] = []
    start = 0
    while start < len(text):
        end = _slice_end(text, start + _SLICE)
        parts.append(_slice(text[start:end]))
        start = end
    return "".join(parts)


def _slice(text: str) -> str:
    if text.isascii():
        return text
    if _LONG_ROW.search(text.translate(_marks())):
        raise UnfitText(f"has more than {_MOST_MARKS} combining marks in a row")
    read = _nfkc(text).translate(_TABLE)
    # one character may become 18
    if len(read) > _MOST_GROWTH * len(text) + _SLACK:
        raise UnfitText(f"would be more than {_MOST_GROWTH} times as long in Unicode NFKC")
    return read


def nfkc(text: str) -> str:
    """The text in Unicode NFKC, without combining marks beyond the 64th in a row."""
    if text.isascii():
        return text
    parts: list[str] = []
    start = 0
    for row in _LONG_ROW.finditer(text.translate(_marks())):
        parts.append(text[start : row.start() + _MOST_MARKS])
        start = row.end()
    return _nfkc("".join([*parts, text[start:]]))


@cache
def _marks() -> dict[int, str]:
    """All marks as the same one."""
    return {place: _MARK for place in range(0x300, 0x20000) if unicodedata.combining(_nfkc(chr(place))[0])}


def _slice_end(text: str, limit: int) -> int:
    if limit >= len(text):
        return len(text)
    return next((place for place in range(limit, limit - _NEAR, -1) if _is_seam(text, place)), limit)


def _is_seam(text: str, place: int) -> bool:
    """True if the characters before a place and those behind it do not become one."""
    before, after = text[place - _NEAR : place], text[place : place + _NEAR]
    return _nfkc(before + after) == _nfkc(before) + _nfkc(after)


def _nfkc(text: str) -> str:
    return unicodedata.normalize("NFKC", text)
