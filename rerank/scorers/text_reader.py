"""Texts to tokens, those that were read before from memory.

The documents of a collection come again with other queries. Looking up a passage of 115 words takes 6 µs,
where a tokenizer takes 100 to 500, and its words, from memory too, 20 to 60.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from rerank.runtimes.ids import BYTES, Ids
from rerank.scorers.base import Part
from rerank.scorers.kept_tokens import KeptTokens
from rerank.scorers.word_reader import ReadText, WordReader

_ROOM = 32_000_000
"""Bytes of texts and their tokens: 20,000 passages of 115 words. Those asked for again may take as many in addition."""
_LONGEST = 16_000
"""Maximum characters, and bytes of tokens, of a text that is kept, so that a few do not drive out all others."""
_AS_LONG = 10
"""Characters that are read in the time that a text takes in any case."""


class TextReader:
    """A tokenizer that adds no special tokens, and keeps what it has read. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, cores: int | None = None) -> None:
        """See ``WordReader``."""
        self._words = WordReader(tokenizer, cores)
        self._kept = KeptTokens(_ROOM)

    def look_up(self, texts: Sequence[str]) -> LookedUp:
        """The texts, and the tokens of those that were read before."""
        return LookedUp(texts, self._kept.ids(texts))

    def ahead(self, texts: LookedUp, wanted: Sequence[int], slices: Sequence[str]) -> Part:
        """The part of reading texts, each with the number of tokens wanted of it, and slices.

        A known text counts as one that is read if fewer tokens are wanted of it than it has.
        """
        each = zip(texts.texts, texts.known, wanted, strict=True)
        unread = [text for text, ids, count in each if ids is None or len(ids) > count * BYTES]
        characters = _AS_LONG * len(texts.texts) + sum(map(len, unread)) + sum(map(len, slices))
        return Part(characters, quick=self._words.is_plain or not (unread or slices))

    def read(self, texts: LookedUp) -> list[ReadText]:
        """Each text's tokens, which are kept."""
        unread = [text for text, ids in texts.each() if ids is None]
        new = iter(self._learnt(unread) if unread else ())
        return [next(new) if ids is None else _Text(self._words, text, Ids(ids)) for text, ids in texts.each()]

    def read_once(self, texts: Sequence[str]) -> list[ReadText]:
        """The same of parts of texts, which depend on how much of them is wanted, and are not kept."""
        return self._words.read(texts)

    def read_whole(self, texts: Sequence[str]) -> list[Encoding]:
        """The same, each by the tokenizer at once."""
        return self._words.read_whole(texts)

    def _learnt(self, texts: Sequence[str]) -> list[_Text]:
        read = zip(texts, self._words.read(texts), strict=True)
        new = [_Text(self._words, text, Ids.of(tokens.ids), tokens) for text, tokens in read]
        self._kept.keep({each.text: each.ids.raw for each in new if max(len(each.text), len(each.ids.raw)) <= _LONGEST})
        return new


class LookedUp(NamedTuple):
    """Texts, and the tokens of those that were read before."""

    texts: Sequence[str]
    known: Sequence[bytes | None]
    """None for a text that is not known."""

    def each(self) -> Iterator[tuple[str, bytes | None]]:
        """Each text with what is known of it."""
        return zip(self.texts, self.known, strict=True)


class _Text:
    """A text and its tokens."""

    __slots__ = ("_read", "_words", "ids", "text")

    def __init__(self, words: WordReader, text: str, ids: Ids, read: ReadText | None = None) -> None:
        self._words, self.text, self.ids, self._read = words, text, ids, read

    def __len__(self) -> int:
        return len(self.ids)

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """See ``ReadText``. For this a known text is read again."""
        if self._read is None:
            (self._read,) = self._words.read([self.text])
        return self._read.token_to_chars(token_index)
