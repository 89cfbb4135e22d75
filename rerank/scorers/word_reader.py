"""Texts to tokens, most words from memory: for what no faster library reads, and for the characters of tokens.

Where no token of a tokenizer reaches across the space between two words, the tokens of a text are those of its words,
one after another. A few thousand words make up most of all texts in languages that put spaces between them, and
looking a word up takes a tenth of the time of reading it. Every word is read by the tokenizer itself, among others,
once; a text with anything but words and single spaces, such as a special token, is read by it each time.

With many cores all texts are: the tokenizer reads as many at once, without Python's lock, which looking words up holds.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import accumulate, islice
from typing import Protocol, cast

from tokenizers import Encoding, Tokenizer

from rerank import cgroups
from rerank.runtimes.ids import BYTES, Ids
from rerank.scorers.kept_tokens import KeptTokens
from rerank.scorers.word_seams import Seams

_SPARSE = 16
"""Characters per space from which on a text is read as a whole: Chinese, or lists of addresses."""
_FAMILIAR = 4
"""Of this many words of a text one may be unknown; of a text with more the tokenizer reads all."""
_AT_ONCE = 64
"""Unknown words that are read as one text."""
_AT_ONCE_WHOLE = 16
"""Texts read as a whole whose words are kept, of those that are read together: keeping them takes as long again."""
_MANY_CORES = 8
"""With 16, a GPU gets 1.75 times as many pairs if texts are read whole; with 2, the server reads half as many documents
of known words. Numbers in between were not measured."""
_OF_A_TEXT = 10
"""Characters that are read in the time that a text takes in any case."""
_ROOM = 48_000_000
"""Bytes of words and their tokens, 200,000 words. After them those give way that were not asked for again while as many
came. With half of it, which 20,000 documents exceed, a server answered 0.76 to 0.95 as many pairs of new ones. An
eighth in addition is for the first words of texts, of which there are fewer."""
_NEIGHBOUR = "a"
TRIALS = (
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

    is_kept = True
    """True if reading a text takes longer than looking it up, so that what was read is kept."""

    def __init__(self, tokenizer: Tokenizer, cores: int | None = None) -> None:
        """``cores``: those that texts are read on; None for all that this process has."""
        self._tokenizer = tokenizer
        self._first, self._later = KeptTokens(_ROOM // 8), KeptTokens(_ROOM)
        seams = Seams.of(tokenizer)
        self.is_plain = seams is not None
        """True for a tokenizer all of whose steps are known: how long it reads depends on the length of a text."""
        self._seams = seams if (cores or cgroups.cores()) < _MANY_CORES else None
        if self._seams and not self._agrees():
            self._seams = None

    def read(self, texts: Sequence[str]) -> list[ReadText]:
        """Each text's tokens."""
        if self._seams is None:
            return [*self.read_whole(texts)]
        split = [self._looked_up(_words(text)) for text in texts]
        if unread := [text for text in split if text.missing]:
            self._learn_few(self._seams, unread)
            for text in unread:
                self._complete(text)
        places = [place for place, text in enumerate(split) if text.missing or not text.words]
        whole = dict(zip(places, self.read_whole([texts[place] for place in places]), strict=True))
        taught = (self._learn_all(self._seams, split[place], read) for place, read in whole.items())
        deque(islice(filter(None, taught), _AT_ONCE_WHOLE), maxlen=0)
        return [whole.get(place, text) for place, text in enumerate(split)]

    def read_located(self, texts: Sequence[str]) -> list[ReadText]:
        """The same of texts of which the characters of a token will be asked for."""
        return self.read(texts)

    def read_whole(self, texts: Sequence[str]) -> list[Encoding]:
        """The same without looking words up."""
        # a batch, because the library holds the interpreter's lock for a single text
        return list(self._tokenizer.encode_batch(texts, add_special_tokens=False)) if texts else []

    def locates(self, _text: str) -> bool:
        """True if the characters of its tokens are known without reading it once more."""
        return True

    def effort(self, texts: int, new: Sequence[str]) -> int:
        """Characters that ``tokenizers`` reads in the time that a number of texts takes, with those that are new."""
        return _OF_A_TEXT * texts + sum(map(len, new))

    def _agrees(self) -> bool:
        trials = [start + text for text in TRIALS for start in ("", " ")]
        whole = [list(read.ids) for read in self.read_whole(trials)]
        # the first time most words are learned
        return all([list(read.ids) for read in self.read(trials)] == whole for _ in range(2))

    def _parts(self, words: Sequence[str]) -> list[bytes | None]:
        """The tokens of each word; None for one that is not known."""
        return [*self._first.ids(words[:1]), *self._later.ids(words[1:])]

    def _looked_up(self, words: Sequence[str]) -> _Words:
        return _Words(self._tokenizer, words, self._parts(words))

    def _complete(self, text: _Words) -> None:
        """Look those words up again that were not known."""
        found = self._parts([text.words[0], *(text.words[place] for place in text.missing)])
        for place, part in zip(text.missing, found[1:], strict=True):
            text.parts[place] = part if place else found[0]
        text.missing = [place for place in text.missing if text.parts[place] is None]

    def _learn_few(self, seams: Seams, texts: Iterable[_Words]) -> None:
        """Read the unknown words of texts that have few."""
        firsts, others = set[str](), set[str]()
        for text in texts:
            first, later = self._unknown(text)
            if len(first + later) * _FAMILIAR <= len(text.words) and seams.keep_apart(first, later):
                firsts.update(first)
                others.update(later)
        row = list(others)
        rows = [[_NEIGHBOUR, *row[start : start + _AT_ONCE]] for start in range(0, len(row), _AT_ONCE)]
        for read, found in self._read_words([*rows, *([word, _NEIGHBOUR] for word in firsts)]):
            self._keep(read, found)

    def _learn_all(self, seams: Seams, text: _Words, read: Encoding) -> bool:
        """Keep the words of a text that was read whole, if it is made of nothing else."""
        if not text.words or not seams.keep_apart(*self._unknown(text)):
            return False
        if parts := _taken_apart(text.words, read):
            self._keep(text.words, parts)
        return bool(parts)

    def _keep(self, words: Sequence[str], parts: Sequence[bytes]) -> None:
        self._first.keep({words[0]: parts[0]})
        self._later.keep(dict(zip(words[1:], parts[1:], strict=True)))

    def _unknown(self, text: _Words) -> tuple[list[str], list[str]]:
        """The first word, and those of the others, that are not known."""
        missing = [text.words[place] for place in text.missing]
        first = 1 if text.parts[0] is None else 0
        return missing[:first], missing[first:]

    def _read_words(self, rows: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], list[bytes]]]:
        for words, read in zip(rows, self.read_whole([" ".join(words) for words in rows]), strict=True):
            if parts := _taken_apart(words, read):
                yield words, parts


def _words(text: str) -> list[str]:
    """The words of a text; none of one with few spaces."""
    words = text.split(" ")
    return words if len(words) * _SPARSE >= len(text) else []


def _taken_apart(words: Sequence[str], read: Encoding) -> list[bytes] | None:
    """The tokens of each word; None where one reaches across a space."""
    ids, offsets = Ids.of(read.ids).raw, read.offsets
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    parts, first = [], 0
    for end in accumulate(len(word) + 1 for word in words):
        # the space before a word may be a token of its own
        last = bisect_left(starts, end - 1, first)
        if last > first and ends[last - 1] >= end:
            return None
        parts.append(ids[first * BYTES : last * BYTES])
        first = last
    in_order = starts == sorted(starts) and ends == sorted(ends)
    return parts if in_order and first == len(starts) else None


class _Words:
    """A text's words and their tokens."""

    def __init__(self, tokenizer: Tokenizer, words: Sequence[str], parts: list[bytes | None]) -> None:
        self._tokenizer, self.words, self.parts = tokenizer, words, parts
        self.missing = [place for place, part in enumerate(parts) if part is None]
        """Places of the words that are not known; nothing is to be asked of a text that has any."""

    @cached_property
    def ids(self) -> Ids:
        return Ids(b"".join(self._known()))

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        ends = [*accumulate(map(len, self._known()))]
        place = bisect_right(ends, token_index * BYTES)
        # the word is read once more, behind the one before it
        near = " ".join(self.words[max(place - 1, 0) : place + 1])
        (read,) = self._tokenizer.encode_batch([near], add_special_tokens=False)
        behind = ends[place] // BYTES - token_index
        found = read.token_to_chars(len(read) - behind)
        start = sum(len(word) + 1 for word in self.words[: max(place - 1, 0)])
        return found and (start + found[0], start + found[1])

    def __len__(self) -> int:
        return len(self.ids)

    def _known(self) -> list[bytes]:
        return cast("list[bytes]", self.parts)
