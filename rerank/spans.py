"""Places at which a text is best cut, and the chunks of a long one. Pure; counts characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from rerank.core import Span

UNSPACED = (
    "\u1100-\u11ff\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31a0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
"""Characters of Chinese, Japanese and Korean, as a class of a regular expression has them."""
_NEAR = 100
"""Maximum characters that are searched for a better place to cut."""
_SHARE = 4
"""Of a chunk no more than this part is searched."""
_LONGEST_CLUSTER = 32
"""Maximum characters that are kept together because readers see them as one."""
_PAUSES = frozenset("\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f")
"""Punctuation that no space follows."""
_JOINER = "\u200d"


def chunk_end(text: str, start: int, limit: int) -> int:
    """The best end of a chunk that may reach up to ``limit``: where a word ends."""
    if limit >= len(text):
        return len(text)
    return _best(text, start, limit, limit - start, _ends_word)


def chunk_start(text: str, end: int, limit: int) -> int:
    """The best start of a last chunk that may reach down to ``limit``: where a word begins."""
    if limit <= 0:
        return 0
    until = min(limit + _near(end - limit), end - 1)
    found = next((place for place in range(limit, until + 1) if _begins_word(text, place)), limit)
    return next((place for place in range(found, end) if not joins(text, place)), found)


def next_start(text: str, last: Span, wanted: int) -> int:
    """The best start of the chunk after ``last``: where a word begins, as wanted or before.

    It leaves nothing out, and shares about half of the last chunk at most.
    """
    if wanted >= last.end:
        return last.end
    length = last.end - last.start
    return _best(text, last.start, max(wanted, last.end - length // 2), length, _begins_word)


def even_starts(text: str, last: int, most: int) -> list[int]:
    """Starts of at most ``most`` chunks evenly spread over a text, from 0 to ``last``."""
    places = [last * number // (most - 1) for number in range(1, most - 1)]
    return sorted({0, *(_best(text, 0, place, place, _begins_word) for place in places if place), last})


def chunks_of_characters(text: str, room: int, overlap: int, most: int) -> list[Span]:
    """The chunks of a text of which ``room`` characters are read at once; ``overlap`` is in characters, too.

    All of the text is in a chunk, unless that takes more than ``most``: then they are evenly spread. If that is 1, the
    chunk is all of the text, which the reader cuts.
    """
    if most == 1:
        return [Span(0, len(text))]
    spans = [_chunk(text, 0, room)]
    while spans[-1].end < len(text) and len(spans) < most:
        chunk = _chunk(text, next_start(text, spans[-1], spans[-1].end - overlap), room)
        # one that ends no later than the last shares nothing with it
        spans.append(chunk if chunk.end > spans[-1].end else _chunk(text, spans[-1].end, room))
    if spans[-1].end == len(text):
        return spans
    last = chunk_start(text, len(text), len(text) - room)
    return [_chunk(text, start, room) for start in even_starts(text, last, most)]


def _chunk(text: str, start: int, room: int) -> Span:
    return Span(start, chunk_end(text, start, start + room))


def joins(text: str, place: int) -> bool:
    """True if a text is not to be cut here, because readers see the characters on both sides as one."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    return (
        (before == "\r" and after == "\n")
        or _JOINER in (before, after)
        or unicodedata.category(after) in ("Mn", "Mc", "Me")
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or "\U000e0020" <= after <= "\U000e007f"
        or ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")
        or ("\u1100" <= before <= "\u11ff" and "\u1160" <= after <= "\u11ff")
        or _is_half_of_flag(text, place)
    )


def _is_half_of_flag(text: str, place: int) -> bool:
    """True between the two letters of a flag: an odd number of them stands before."""
    if not _is_flag_letter(text[place]):
        return False
    letters = 0
    while letters < _LONGEST_CLUSTER and letters < place and _is_flag_letter(text[place - 1 - letters]):
        letters += 1
    return letters % 2 == 1


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _near(length: int) -> int:
    """Characters of a chunk of this length that are searched."""
    return min(_NEAR, length // _SHARE)


def _best(text: str, start: int, limit: int, length: int, fits: Callable[[str, int], bool]) -> int:
    """The last place after ``start`` and up to ``limit`` that fits, if one is near; else one that joins nothing."""
    nearest = max(start + 1, limit - _near(length))
    found = next((place for place in range(limit, nearest - 1, -1) if fits(text, place)), None)
    if found is not None:
        return found
    nearest = max(start + 1, limit - _LONGEST_CLUSTER)
    return next((place for place in range(limit, nearest - 1, -1) if not joins(text, place)), limit)


def _ends_word(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    return (after.isspace() and not before.isspace()) or (before in _PAUSES and not joins(text, place))


def _begins_word(text: str, place: int) -> bool:
    before, after = text[place - 1], text[place]
    return ((before.isspace() and not after.isspace()) or before in _PAUSES) and not joins(text, place)
