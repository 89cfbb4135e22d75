"""Texts to tokens, most words from memory.

Where no token of a tokenizer reaches across the space between two words, the tokens of a text are those of its words,
one after another. A few thousand words make up most of all texts in languages that put spaces between them, and
looking a word up takes a tenth of the time of reading it. Every word is read by the tokenizer itself, among others,
once; a text with anything but words and single spaces, such as a special token, is read by it each time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from typing import Any, Protocol

from tokenizers import Encoding, Tokenizer

from rerank.scorers.word_seams import Seams

Ids = tuple[int, ...]

_SPARSE = 16
"""Characters per space from which on a text is read as a whole: Chinese, or lists of addresses."""
_FAMILIAR = 4
"""Of this many words of a text one may be unknown; of a text with more the tokenizer reads all."""
_AT_ONCE = 64
"""Unknown words that are read as one text."""
_AT_ONCE_WHOLE = 16
"""Texts read as a whole whose words are kept, of those that are read together: keeping them takes as long again."""
_ROOM = 400_000
"""Tokens of words, about 12 MB, after which those that are not asked for again give way."""
_ENTRY = 4
"""Memory of a word in addition, in tokens."""
_NEIGHBOUR = "a"
_TRIALS = (
    "The bear's 3 pandas, i.e. (both) of them; don't 12,345 or e-mail a.b@c.org \"it\" 50% #1",
    "Ünïcode naïve ﬁne ①② 中文 is 机器学习 and 한국어 ты 😀 👩\u200d👩\u200d👧 e\u0301 x\u200by a\tb c\nd",
)
"""Texts that have to give the same tokens both ways, also behind a space."""


class ReadText(Protocol):
    """The tokens of a text."""

    @property
    def ids(self) -> Sequence[int]:
        """Numbers of the tokens."""
        ...

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """The characters that a token was made from."""
        ...

    def __len__(self) -> int: ...


class WordReader:
    """A tokenizer that adds no special tokens, and keeps the words it has read. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._first, self._later = _KeptWords(), _KeptWords()
        self._seams = Seams.of(tokenizer)
        if self._seams and not self._agrees():
            self._seams = None

    @property
    def looks_up(self) -> bool:
        """True where the tokens of a text are those of its words."""
        return self._seams is not None

    def read(self, texts: Sequence[str]) -> list[ReadText]:
        """Each text's tokens."""
        if self._seams is None:
            return [*self.read_whole(texts)]
        split = [_words(text) for text in texts]
        found = self._of_known_words(self._seams, split)
        places = [place for place, read in enumerate(found) if read is None]
        whole = dict(zip(places, self.read_whole([texts[place] for place in places]), strict=True))
        taught = (self._learn_all(self._seams, split[place], read) for place, read in whole.items())
        deque(islice(filter(None, taught), _AT_ONCE_WHOLE), maxlen=0)
        return [whole[place] if read is None else read for place, read in enumerate(found)]

    def _of_known_words(self, seams: Seams, texts: Sequence[Sequence[str]]) -> list[ReadText | None]:
        """Texts by their words, of which a few may be unknown before; None for one with others."""
        parts = [self._parts(words) for words in texts]
        if unread := [place for place, known in enumerate(parts) if None in known]:
            self._learn_few(seams, [texts[place] for place in unread])
            for place in unread:
                parts[place] = self._parts(texts[place])
        return [_made_of(self._tokenizer, words, known) for words, known in zip(texts, parts, strict=True)]

    def read_whole(self, texts: Sequence[str]) -> list[Encoding]:
        """The same without looking words up."""
        # a batch, because the library holds the interpreter's lock for a single text
        return list(self._tokenizer.encode_batch(texts, add_special_tokens=False)) if texts else []

    def _agrees(self) -> bool:
        trials = [start + text for text in _TRIALS for start in ("", " ")]
        whole = [list(read.ids) for read in self.read_whole(trials)]
        # the first time most words are learned
        return all([list(read.ids) for read in self.read(trials)] == whole for _ in range(2))

    def _parts(self, words: Sequence[str]) -> list[Ids | None]:
        """The tokens of each word; None for one that is not known."""
        return [*self._first.ids(words[:1]), *self._later.ids(words[1:])]

    def _learn_few(self, seams: Seams, texts: Iterable[Sequence[str]]) -> None:
        """Read the unknown words of texts that have few."""
        firsts, others = set[str](), set[str]()
        for words in texts:
            first, later = self._unknown(words)
            if len(first + later) * _FAMILIAR <= len(words) and seams.keep_apart(first, later):
                firsts.update(first)
                others.update(later)
        row = list(others)
        rows = [[_NEIGHBOUR, *row[start : start + _AT_ONCE]] for start in range(0, len(row), _AT_ONCE)]
        for words, parts in self._read_words([*rows, *([word, _NEIGHBOUR] for word in firsts)]):
            self._keep(words, parts)

    def _learn_all(self, seams: Seams, words: Sequence[str], read: Encoding) -> bool:
        """Keep the words of a text that was read whole, if it is made of nothing else."""
        if not words or not seams.keep_apart(*self._unknown(words)):
            return False
        if parts := _taken_apart(words, read):
            self._keep(words, parts)
        return bool(parts)

    def _keep(self, words: Sequence[str], parts: Sequence[Ids]) -> None:
        self._first.keep({words[0]: parts[0]})
        self._later.keep(dict(zip(words[1:], parts[1:], strict=True)))

    def _unknown(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """The first word, and those of the others, that are not known."""
        return self._first.unknown(words[:1]), self._later.unknown(words[1:])

    def _read_words(self, rows: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], list[Ids]]]:
        for words, read in zip(rows, self.read_whole([" ".join(words) for words in rows]), strict=True):
            if parts := _taken_apart(words, read):
                yield words, parts


class _KeptWords:
    """The words that were read last, with their tokens. Any thread may use it."""

    def __init__(self) -> None:
        self._new: dict[str, Ids] = {}
        self._old: dict[str, Ids] = {}
        self._room = _ROOM

    def ids(self, words: Sequence[str]) -> list[Ids | None]:
        """Tokens of each; None for one that is not kept."""
        return list(map(self._new.get, words))

    def unknown(self, words: Sequence[str]) -> list[str]:
        """Those that are not kept."""
        new, old = self._new, self._old
        missing = [word for word in words if word not in new]
        if old and missing:
            self.keep({word: old[word] for word in missing if word in old})
            missing = [word for word in missing if word not in old]
        return missing

    def keep(self, found: Mapping[str, Ids]) -> None:
        """Keep these, in place of all that were not asked for since room was made last."""
        new = self._new
        self._room -= sum(len(ids) + _ENTRY for word, ids in found.items() if word not in new)
        new.update(found)
        if self._room < 0:
            self._new, self._old, self._room = {}, new, _ROOM


def _words(text: str) -> list[str]:
    """The words of a text; none of one with few spaces."""
    words = text.split(" ")
    return words if len(words) * _SPARSE >= len(text) else []


def _made_of(tokenizer: Tokenizer, words: Sequence[str], parts: Sequence[Ids | None]) -> ReadText | None:
    """A text of known words; None for another."""
    if not words or None in parts:
        return None
    known: Any = parts
    return _Words(tokenizer, words, known)


def _taken_apart(words: Sequence[str], read: Encoding) -> list[Ids] | None:
    """The tokens of each word; None where one reaches across a space."""
    ids, offsets = tuple(read.ids), read.offsets
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    parts, first = [], 0
    for end in accumulate(len(word) + 1 for word in words):
        # the space before a word may be a token of its own
        last = bisect_left(starts, end - 1, first)
        if last > first and ends[last - 1] >= end:
            return None
        parts.append(ids[first:last])
        first = last
    in_order = starts == sorted(starts) and ends == sorted(ends)
    return parts if in_order and first == len(ids) else None


class _Words:
    """A text's words and their tokens."""

    def __init__(self, tokenizer: Tokenizer, words: Sequence[str], parts: Sequence[Ids]) -> None:
        self._tokenizer, self._words, self._parts = tokenizer, words, parts
        self.ids = tuple(chain.from_iterable(parts))

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        place, left = 0, token_index
        while left >= len(self._parts[place]):
            left -= len(self._parts[place])
            place += 1
        # the word is read once more, behind the one before it
        near = " ".join(self._words[max(place - 1, 0) : place + 1])
        (read,) = self._tokenizer.encode_batch([near], add_special_tokens=False)
        found = read.token_to_chars(len(read) - len(self._parts[place]) + left)
        start = sum(len(word) + 1 for word in self._words[: max(place - 1, 0)])
        return found and (start + found[0], start + found[1])

    def __len__(self) -> int:
        return len(self.ids)
