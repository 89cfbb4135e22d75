"""Texts to tokens, those that were read before from memory.

The documents of a collection come again with other queries. Looking up a passage of 115 words takes 6 µs,
where a tokenizer takes 100 to 500, its words, from memory too, 20 to 60, and faster libraries 4 to 70.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from tokenizers import Encoding, Tokenizer

from rerank.runtimes.ids import Ids
from rerank.scorers.base import Part
from rerank.scorers.fast_reader import FastReader, LooseTokens
from rerank.scorers.kept_tokens import KeptTokens
from rerank.scorers.word_reader import ReadText, WordReader

_ROOM = 32_000_000
"""Bytes of texts and their tokens: 20,000 passages of 115 words. Those asked for again may take as many in addition."""
_LONGEST = 16_000
"""Maximum characters, and bytes of tokens, of a text that is kept, so that a few do not drive out all others."""
_openers = ThreadPoolExecutor(1, thread_name_prefix="open-tokenizer")
"""Opening Qwen's takes fastokens a second, in which the rest of the model is loaded, and requests are answered."""
logger = logging.getLogger(__name__)


class TextReader:
    """A tokenizer that adds no special tokens, and keeps what it has read. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer, cores: int | None = None, *, rows: int | None = None) -> None:
        """``rows`` of the model's table, where they are known; for ``cores`` see ``WordReader``."""
        self._tokenizer = tokenizer
        self.rows = rows if rows is not None and _reaches_beyond(tokenizer, rows) else None
        """None where every token has one."""
        self._words = WordReader(tokenizer, cores)
        self._fast = _openers.submit(_fast_reader, tokenizer, self._words)
        self._kept = KeptTokens(_ROOM)

    @property
    def _reader(self) -> WordReader | FastReader:
        return (self._fast.done() and self._fast.result()) or self._words

    def look_up(self, texts: Sequence[str]) -> LookedUp:
        """The texts, and the tokens of those that were read before."""
        return LookedUp(texts, self._kept.ids(texts) if self._reader.is_kept else [None] * len(texts))

    def ahead(self, texts: LookedUp, slices: Sequence[str]) -> Part:
        """The part of reading texts, and slices."""
        reader, unread = self._reader, texts.unread()
        effort = reader.effort(len(texts.texts), unread)
        effort += sum((reader if reader.locates(part) else self._words).effort(0, [part]) for part in slices)
        return Part(effort, quick=self._words.is_plain or not (unread or slices))

    def read(self, texts: LookedUp) -> list[ReadText]:
        """Each text's tokens, which are kept unless reading them takes no longer than looking them up."""
        unread = texts.unread()
        new = iter(self._learnt(unread) if unread else ())
        return [next(new) if ids is None else LooseTokens(self._words, text, Ids(ids)) for text, ids in texts.each()]

    def read_once(self, texts: Sequence[str]) -> list[ReadText]:
        """The same of parts of texts, which depend on how much of them is wanted, and are not kept."""
        return self._reader.read_located(texts)

    def read_whole(self, texts: Sequence[str]) -> list[Encoding]:
        """The same, each by the tokenizer at once."""
        return self._words.read_whole(texts)

    def ahead_of_locating(self, texts: Sequence[LooseTokens]) -> Part:
        """The part of finding the characters of their tokens, for which they are read once more."""
        return Part(self._words.effort(len(texts), [each.text for each in texts]), quick=self._words.is_plain)

    def beyond(self, ids: Ids) -> str | None:
        """The first token that has no row; None where each has one."""
        if self.rows is None:
            return None
        found = ids.numbers[ids.numbers >= self.rows]
        return self._tokenizer.id_to_token(int(found[0])) if len(found) else None

    def locate(self, texts: Sequence[LooseTokens]) -> None:
        """Find the characters of their tokens, of all at once."""
        for each, read in zip(texts, self._words.read([each.text for each in texts]), strict=True):
            each.read = read

    def _learnt(self, texts: Sequence[str]) -> list[ReadText]:
        reader = self._reader
        read = reader.read(texts)
        if reader.is_kept:
            ids = {text: Ids.of(tokens.ids).raw for text, tokens in zip(texts, read, strict=True)}
            self._kept.keep({text: raw for text, raw in ids.items() if max(len(text), len(raw)) <= _LONGEST})
        return read


def _reaches_beyond(tokenizer: Tokenizer, rows: int) -> bool:
    added = tokenizer.get_added_tokens_decoder()
    return max(tokenizer.get_vocab_size(with_added_tokens=False), *(number + 1 for number in added), 0) > rows


def _fast_reader(tokenizer: Tokenizer, words: WordReader) -> FastReader | None:
    """None where there is none, or where opening it fails: a model does not need it."""
    try:
        return FastReader.of(tokenizer, words)
    except BaseException:
        # a library in Rust that panics raises no Exception
        logger.exception("texts are read by `tokenizers` alone, because a faster library failed")
        return None


class LookedUp(NamedTuple):
    """Texts, and the tokens of those that were read before."""

    texts: Sequence[str]
    known: Sequence[bytes | None]
    """None for a text that is not known."""

    def each(self) -> Iterator[tuple[str, bytes | None]]:
        """Each text with what is known of it."""
        return zip(self.texts, self.known, strict=True)

    def unread(self) -> list[str]:
        """Those of which nothing is known."""
        return [text for text, ids in self.each() if ids is None]
