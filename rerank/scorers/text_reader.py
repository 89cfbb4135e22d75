"""Texts to tokens, those that were read before from memory.

The documents of a collection come again with other queries. Looking up a passage of 115 words takes 6 µs,
where a tokenizer takes 100 to 500, its words, from memory too, 20 to 60, and fastokens, for byte pairs, 4 to 20.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from rerank.runtimes.ids import BYTES, Ids
from rerank.scorers.base import Part
from rerank.scorers.fast_reader import FastReader
from rerank.scorers.kept_tokens import KeptTokens
from rerank.scorers.word_reader import ReadText, WordReader

_ROOM = 32_000_000
"""Bytes of texts and their tokens: 20,000 passages of 115 words. Those asked for again may take as many in addition."""
_LONGEST = 16_000
"""Maximum characters, and bytes of tokens, of a text that is kept, so that a few do not drive out all others."""
_openers = ThreadPoolExecutor(1, thread_name_prefix="open-tokenizer")
"""Opening Qwen's takes fastokens a second, in which the rest of the model is loaded, and requests are answered."""


class TextReader:
    """A tokenizer that adds no special tokens, and keeps what it has read. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, cores: int | None = None) -> None:
        """See ``WordReader``."""
        self._words = WordReader(tokenizer, cores)
        self._fast = _openers.submit(FastReader.of, tokenizer)
        self._kept = KeptTokens(_ROOM)

    @property
    def _reader(self) -> WordReader | FastReader:
        return (self._fast.done() and self._fast.result()) or self._words

    def look_up(self, texts: Sequence[str]) -> LookedUp:
        """The texts, and the tokens of those that were read before."""
        return LookedUp(texts, self._kept.ids(texts) if self._reader.is_kept else [None] * len(texts))

    def ahead(self, texts: LookedUp, wanted: Sequence[int], slices: Sequence[str]) -> Part:
        """The part of reading texts, each with the number of tokens wanted of it, and slices.

        A known text counts as one that is read if fewer tokens are wanted of it than it has.
        """
        reader = self._reader
        each = zip(texts.texts, texts.known, wanted, strict=True)
        unread = [text for text, ids, count in each if ids is None or len(ids) > count * BYTES]
        characters = sum(map(len, unread)) + sum(map(len, slices))
        return Part(reader.effort(len(texts.texts), characters), quick=reader.is_plain or not (unread or slices))

    def read(self, texts: LookedUp) -> list[ReadText]:
        """Each text's tokens, which are kept unless reading them takes no longer than looking them up."""
        unread = [text for text, ids in texts.each() if ids is None]
        new = iter(self._learnt(unread) if unread else ())
        return [next(new) if ids is None else _Text(self._reader, text, Ids(ids)) for text, ids in texts.each()]

    def read_once(self, texts: Sequence[str]) -> list[ReadText]:
        """The same of parts of texts, which depend on how much of them is wanted, and are not kept."""
        return self._reader.read(texts)

    def read_whole(self, texts: Sequence[str]) -> list[Encoding]:
        """The same, each by the tokenizer at once."""
        return self._reader.read_whole(texts)

    def _learnt(self, texts: Sequence[str]) -> list[ReadText]:
        reader = self._reader
        read = reader.read(texts)
        if not reader.is_kept:
            return read
        new = [_Text(reader, text, Ids.of(tokens.ids), tokens) for text, tokens in zip(texts, read, strict=True)]
        self._kept.keep({each.text: each.ids.raw for each in new if max(len(each.text), len(each.ids.raw)) <= _LONGEST})
        return [*new]


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

    __slots__ = ("_read", "_reader", "ids", "text")

    def __init__(self, reader: WordReader | FastReader, text: str, ids: Ids, read: ReadText | None = None) -> None:
        self._reader, self.text, self.ids, self._read = reader, text, ids, read

    def __len__(self) -> int:
        return len(self.ids)

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """See ``ReadText``. For this a known text is read again."""
        if self._read is None:
            (self._read,) = self._reader.read([self.text])
        return self._read.token_to_chars(token_index)
