"""Texts to tokens by a library that is faster than ``tokenizers``, where it is known to give the same tokens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

import numpy
from tokenizers import Tokenizer

from rerank.runtimes.ids import BYTES, Ids
from rerank.scorers.fast_tokenizers import BytePairs, Pieces
from rerank.scorers.word_reader import TRIALS, ReadText, WordReader

logger = logging.getLogger(__name__)

_AT_ONCE = 10_000
"""Characters of texts that are read without giving Python's lock to other threads: getting it back takes longer. With
10 documents a request a server answers 1.1 to 1.2 times as many."""


class FastReader:
    """A tokenizer that adds no special tokens. Any thread may use it."""

    is_plain = True
    """See ``WordReader.is_plain``."""

    def __init__(self, words: WordReader, fast: BytePairs | Pieces) -> None:
        """``words`` reads what ``fast`` does not."""
        self.words, self.fast = words, fast
        self.is_kept = fast.is_kept
        """See ``WordReader.is_kept``."""
        self.locates = fast.locates
        """See ``WordReader.locates``."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, words: WordReader) -> FastReader | None:
        """None for a tokenizer of a kind that no faster library is known to read alike."""
        fast = BytePairs.of(tokenizer) or Pieces.of(tokenizer)
        reader = fast and cls(words, fast)
        return reader if reader and reader._agrees() else None

    def read(self, texts: Sequence[str]) -> list[ReadText]:
        """Each text's tokens."""
        alike = [*map(self.fast.reads, texts)]
        found = iter(self._ids([text for text, read in zip(texts, alike, strict=True) if read]))
        others = iter(self.words.read([text for text, read in zip(texts, alike, strict=True) if not read]))
        return [
            _Text(self, text, next(found)) if read else next(others) for text, read in zip(texts, alike, strict=True)
        ]

    def effort(self, texts: int, characters: int) -> int:
        """See ``WordReader.effort``."""
        return self.fast.of_a_text * texts + characters // self.fast.times_as_fast

    def _ids(self, texts: Sequence[str]) -> list[Ids]:
        if sum(map(len, texts)) <= _AT_ONCE:
            return [*map(self.fast.one, texts)]
        raw, offsets = self.fast.many(texts)
        ends = (numpy.frombuffer(offsets, numpy.uint64) * BYTES).tolist()
        return [Ids(raw[first:last]) for first, last in pairwise(ends)]

    def _agrees(self) -> bool:
        read, whole = self.read(TRIALS), self.words.read_whole(TRIALS)
        same = [list(text.ids) for text in read] == [text.ids for text in whole]
        if not same:
            logger.warning("a faster library reads texts into other tokens than `tokenizers` does, and is not used")
        return same


class _Text:
    """A text and its tokens."""

    def __init__(self, reader: FastReader, text: str, ids: Ids) -> None:
        self._reader, self._text, self.ids = reader, text, ids

    def __len__(self) -> int:
        return len(self.ids)

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """See ``ReadText``."""
        ends = self._ends
        if ends is None:
            return self._by_words.token_to_chars(token_index)
        first, last = int(ends[token_index - 1]) if token_index else 0, int(ends[token_index])
        if self._text.isascii():
            return first, last
        # bytes that continue a character begin with the bits 10
        begun = (numpy.frombuffer(self._text[:last].encode(), numpy.uint8)[:last] & 0xC0 != 0x80).cumsum()
        return int(begun[first]) - 1, int(begun[last - 1])

    @cached_property
    def _ends(self) -> numpy.ndarray | None:
        return self._reader.fast.ends(self._text, self.ids)

    @cached_property
    def _by_words(self) -> ReadText:
        (read,) = self._reader.words.read([self._text])
        return read
