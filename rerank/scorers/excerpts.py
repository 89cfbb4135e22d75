"""The first or last tokens of texts, without reading the rest of them.

A text is encoded in slices until enough tokens are settled. Slices overlap, and of each only those tokens count that
end far enough from the cut, because the tokens of a character depend on its neighbours. So the
tokens are those of the whole text, while time and memory depend on how many are wanted.

They may differ only where no word ends in 16,384 characters and more than 512 of them repeat one pattern, for a
tokenizer that does not split them (there the first token may depend on where the last one ends), in a word with
131,072 characters inside it of which the tokenizer makes nothing, and around a row of thousands of line feeds, for a
tokenizer that strips texts and takes line feeds for letters that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from tokenizers import Encoding

from rerank.core import Span
from rerank.runtimes.ids import Ids
from rerank.scorers.base import TURN_CHARACTERS, Part, Reading, unknown_token
from rerank.scorers.fast_reader import LooseTokens
from rerank.scorers.text_reader import TextReader
from rerank.scorers.word_reader import ReadText

Side = Literal["left", "right"]
Field = Literal["documents", "input", "query"]

_PER_TOKEN = 6
"""Estimated characters per token; high, because a second slice costs more than a longer first one."""
_MARGIN = 512
"""Characters after which a tokenizer no longer depends on where a slice was cut."""
_FOLLOWING = 128
"""The same in tokens, for characters that a tokenizer drops. Words have fewer: a longer one is one unknown token."""
_LONGEST = 2 * TURN_CHARACTERS
"""Maximum characters that are reread for the sake of the tokens before them, which then count as they are."""
_SLACK = 16 * 1024
"""Characters that are searched for the best place to cut a slice."""
# before a space, or between two Chinese sentences: hardly any tokenizer has a token across
_SEAM = re.compile(r"\S(?=\s)|[\u4e00-\u9fff](?=[\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f])")


class Excerpt(NamedTuple):
    """The requested tokens of a text."""

    ids: Ids
    tokens: int
    """Tokens of the whole text, or a lower bound if it was not read to its end."""
    whole: bool
    """True if the text was read to its end."""
    span: slice = slice(None)
    """The characters that the tokens were made from."""

    def cut(self, start: int = 0, end: int | None = None) -> Span | None:
        """The characters between ``start`` and ``end`` that are read, counted from there; None if all are."""
        if self.tokens <= len(self.ids):
            return None
        places = (self.span.start, self.span.stop)
        first, last = (max(start, min(place, place if end is None else end)) - start for place in places)
        return Span(first, last)


def read_texts(
    reader: TextReader, texts: Sequence[str], wanted: Sequence[int], side: Side, of: Field = "documents"
) -> Reading[list[Excerpt]]:
    """Of each text as many tokens as are wanted, at least one: the first where its right side is cut, else the last.

    Parts of the work are groups of texts, and single slices of long ones. Raises InvalidRequest naming a token that
    the model does not have, and the field that the texts are ``of``.
    """
    excerpts: list[Excerpt] = []
    for group in _groups(texts, wanted, side):
        encodings = yield from _read(reader, group)
        for part, encoding in zip(group, encodings, strict=True):
            if part.ruler is None:
                excerpts.append(_of_whole(encoding, part.wanted, side))
            elif _settles(encoding, part.wanted, part.ruler, len(part.text)):
                excerpts.append(_of_first_slice(encoding, part.wanted, part.ruler, len(part.text)))
            else:
                excerpts.append((yield from _in_slices(reader, part.wanted, part.ruler)))
    if reader.rows is not None:
        _refuse_beyond(reader, excerpts, reader.rows, of)
    return excerpts


def _refuse_beyond(reader: TextReader, excerpts: Sequence[Excerpt], rows: int, of: Field) -> None:
    for place, excerpt in enumerate(excerpts):
        if token := reader.beyond(excerpt.ids):
            raise unknown_token(of, place, token, rows)


def _read(reader: TextReader, group: Sequence[_Part]) -> Reading[list[ReadText]]:
    """The tokens of a group, and the characters that those were made from which will be asked for."""
    whole = [part for part in group if part.ruler is None]
    looked_up, sliced = reader.look_up([part.text for part in whole]), [part.text for part in group if part.ruler]
    yield reader.ahead(looked_up, sliced)
    read, slices = reader.read(looked_up), iter(reader.read_once(sliced))
    cut = [text for text, part in zip(read, whole, strict=True) if len(text) > part.wanted]
    if loose := [text for text in cut if isinstance(text, LooseTokens) and text.read is None]:
        yield reader.ahead_of_locating(loose)
        reader.locate(loose)
    found = iter(read)
    return [next(slices if part.ruler else found) for part in group]


class _Part(NamedTuple):
    """The first slice of a text."""

    text: str
    wanted: int
    ruler: _Ruler | None
    """The text's own; None where it is read whole."""


def _groups(texts: Sequence[str], wanted: Sequence[int], side: Side) -> Iterator[list[_Part]]:
    """Groups of texts that are tokenised together."""
    group: list[_Part] = []
    characters = 0
    for text, count in zip(texts, wanted, strict=True):
        part = _first_part(text, count, side)
        if group and characters + len(part.text) > TURN_CHARACTERS:
            yield group
            group, characters = [], 0
        group.append(part)
        characters += len(part.text)
    if group:
        yield group


def _first_part(text: str, wanted: int, side: Side) -> _Part:
    size = _size(wanted)
    if len(text) > size:
        ruler = _Ruler(text, side)
        far = ruler.far_end(size)
        if far < ruler.length:
            return _Part(ruler.slice(0, far), wanted, ruler)
    return _Part(text, wanted, None)


def _size(tokens: int, slices: int = 0) -> int:
    """Characters to read for a number of tokens, after ``slices`` that held too few."""
    return min(_MARGIN + (_PER_TOKEN * (tokens + _FOLLOWING) << min(slices, 16)), TURN_CHARACTERS)


class _Ruler:
    """A text measured from the end that is kept: a distance is a number of characters from there."""

    def __init__(self, text: str, side: Side) -> None:
        self.text = text
        self.length = len(text)
        self.side: Side = side

    def between(self, near: int, far: int) -> tuple[int, int]:
        """Two distances as places in the text, or two places as distances."""
        return (self.length - far, self.length - near) if self.side == "left" else (near, far)

    def slice(self, near: int, far: int) -> str:
        """The characters between two distances."""
        first, last = self.between(near, far)
        return self.text[first:last]

    def far_end(self, distance: int) -> int:
        """A distance at which a slice may end, not much greater than this."""
        if distance >= self.length:
            return self.length
        end = min(distance + _SLACK, self.length)
        if self.side == "right":
            return self._seam(distance, end, begins=False) or end
        return self._seam(distance, end, begins=True) or self._before_row(end)

    def _before_row(self, distance: int) -> int:
        """The same distance, or where the row of equal characters begins that it is in: they may be merged in pairs."""
        place = self.length - distance
        before = self.text[max(0, place - _SLACK) : place]
        return distance + len(before) - len(before.rstrip(self.text[place]))

    def near_end(self, settled: int) -> int:
        """A distance at which a slice may begin, for what is settled up to here to stay as it is."""
        seam = self._seam(settled - 3 * _MARGIN, settled - _MARGIN, begins=self.side == "right")
        return max(0, seam or settled - _MARGIN)

    def _seam(self, near: int, far: int, *, begins: bool) -> int | None:
        """A distance between two others at which the text is best cut; None if there is none.

        A text that begins there begins with the character before the space: a space that a tokenizer puts in front
        would count among those that follow.
        """
        found = _SEAM.search(self.text, *self.between(near, far))
        if not found:
            return None
        place = found.start() if begins else found.end()
        return self.between(place, place)[0]


def _of_whole(encoding: ReadText, wanted: int, side: Side) -> Excerpt:
    """The requested tokens of a text that was read whole."""
    ids = Ids.of(encoding.ids)
    tokens = len(ids)
    if tokens <= wanted:
        return Excerpt(ids, tokens, whole=True)
    first, last = (tokens - wanted, tokens) if side == "left" else (0, wanted)
    span = slice(_characters(encoding, first)[0], _characters(encoding, last - 1)[1])
    return Excerpt(ids[first:last], tokens, whole=True, span=span)


def _settles(encoding: ReadText, wanted: int, ruler: _Ruler, far: int) -> bool:
    """True if a text's first slice holds what is wanted and a token more, and that one far enough from the cut."""
    tokens = len(encoding)
    if tokens <= wanted + _FOLLOWING:
        return False
    first, last = _characters(encoding, tokens - 1 - wanted if ruler.side == "left" else wanted)
    return first >= _MARGIN if ruler.side == "left" else last <= far - _MARGIN


def _of_first_slice(encoding: ReadText, wanted: int, ruler: _Ruler, far: int) -> Excerpt:
    """The requested tokens, from a text's first slice."""
    excerpt = _of_whole(encoding, wanted, ruler.side)
    begin, _ = ruler.between(0, far)
    span = slice(begin + excerpt.span.start, begin + excerpt.span.stop)
    return excerpt._replace(tokens=excerpt.tokens - _FOLLOWING, whole=False, span=span)


def _characters(encoding: ReadText, token: int) -> tuple[int, int]:
    """The characters that a token was made from. For one token: a list for all would be as many objects."""
    return encoding.token_to_chars(token) or (0, 0)


class _Token(NamedTuple):
    """A token, and the characters that it was made from."""

    id: int
    first: int
    last: int


def _in_slices(reader: TextReader, wanted: int, ruler: _Ruler) -> Reading[Excerpt]:
    """The requested tokens, slice by slice; each slice is longer than one that held too few."""
    # the token nearest to the end that is kept comes first
    found: list[_Token] = []
    near, far, settled, slices = 0, 0, -1, 1
    while True:
        far = ruler.far_end(far + _size(wanted - len(found), slices))
        yield Part(far - near)
        (encoding,) = reader.read_whole([ruler.slice(near, far)])
        tokens = [token for token in _tokens(encoding, ruler, near, far) if _end(token, ruler) > settled]
        if far == ruler.length:
            return _excerpt([*found, *tokens], wanted, ruler, whole=True)
        until = far - _MARGIN
        if far - settled <= _LONGEST:
            # the tokens of one character stay together
            until = min(until, _end(tokens[-_FOLLOWING], ruler) - 1) if len(tokens) > _FOLLOWING else settled
        found += [token for token in tokens if _end(token, ruler) <= until]
        if len(found) > wanted:
            return _excerpt(found, wanted, ruler, whole=False)
        settled = max(settled, until)
        slices += 1
        near = ruler.near_end(settled)


def _tokens(encoding: Encoding, ruler: _Ruler, near: int, far: int) -> list[_Token]:
    """The tokens of a slice, the nearest first."""
    begin, _ = ruler.between(near, far)
    places = zip(encoding.ids, encoding.offsets, strict=True)
    tokens = [_Token(token, begin + first, begin + last) for token, (first, last) in places]
    return tokens[::-1] if ruler.side == "left" else tokens


def _end(token: _Token, ruler: _Ruler) -> int:
    """The distance at which a token ends."""
    return ruler.between(token.first, token.last)[1]


def _excerpt(found: Sequence[_Token], wanted: int, ruler: _Ruler, *, whole: bool) -> Excerpt:
    kept = found[:wanted]
    span = (
        slice(min(token.first for token in kept), max(token.last for token in kept)) if found[wanted:] else slice(None)
    )
    ids = Ids.of([token.id for token in kept])
    return Excerpt(ids[::-1] if ruler.side == "left" else ids, len(found), whole, span)
