"""Texts to tokens by a library that is faster than ``tokenizers``, where it is known to give the same tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
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
10 documents a request a server answers 1.2 times as many."""


class FastReader:
    """A tokenizer that adds no special tokens. Any thread may use it."""

    def __init__(self, words: WordReader, fast: BytePairs | Pieces) -> None:
        """``words`` reads what ``fast`` does not."""
        self.words, self.fast = words, fast
        self.is_kept = fast.is_kept
        """See ``WordReader.is_kept``."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, words: WordReader) -> FastReader | None:
        """None for a tokenizer of a kind that no faster library is known to read alike."""
        if tokenizer.encode_special_tokens or not words.is_plain:
            return None
        fast = BytePairs.of(tokenizer) or Pieces.of(tokenizer)
        reader = fast and cls(words, fast)
        return reader if reader and reader._agrees() else None

    def read(self, texts: Sequence[str]) -> list[ReadText]:
        """Each text's tokens."""
        return self._read_where(self.fast.reads, texts)

    def read_located(self, texts: Sequence[str]) -> list[ReadText]:
        """The same of texts of which the characters of a token will be asked for."""
        return self._read_where(self.locates, texts)

    def locates(self, text: str) -> bool:
        """See ``WordReader.locates``."""
        return self.fast.sizes(text) is not None

    def effort(self, texts: int, new: Sequence[str]) -> int:
        """See ``WordReader.effort``."""
        characters = sum(map(len, new))
        alike = sum([len(text) for text in new if self.fast.reads(text)])
        return self.fast.of_a_text * texts + characters - alike + alike // self.fast.times_as_fast

    def _read_where(self, fits: Callable[[str], bool], texts: Sequence[str]) -> list[ReadText]:
        alike = [*map(fits, texts)]
        found = iter(self._ids([text for text, read in zip(texts, alike, strict=True) if read]))
        others = iter(self.words.read([text for text, read in zip(texts, alike, strict=True) if not read]))
        each = zip(texts, alike, strict=True)
        return [self._read(text, next(found)) if read else next(others) for text, read in each]

    def _ids(self, texts: Sequence[str]) -> list[Ids]:
        if sum(map(len, texts)) <= _AT_ONCE:
            return [*map(self.fast.one, texts)]
        raw, offsets = self.fast.many(texts)
        ends = (numpy.frombuffer(offsets, numpy.uint64) * BYTES).tolist()
        return [Ids(raw[first:last]) for first, last in pairwise(ends)]

    def _read(self, text: str, ids: Ids) -> ReadText:
        sizes = self.fast.sizes(text)
        return LooseTokens(self.words, text, ids) if sizes is None else _Spelled(sizes, ids)

    def _agrees(self) -> bool:
        read, whole = self.read(TRIALS), self.words.read_whole(TRIALS)
        same = [list(text.ids) for text in read] == [text.ids for text in whole]
        if not same:
            logger.warning("a faster library reads texts into other tokens than `tokenizers` does, and is not used")
        return same


class _Spelled:
    """The tokens of a text that they spell."""

    def __init__(self, sizes: numpy.ndarray, ids: Ids) -> None:
        self._sizes, self.ids = sizes, ids

    def __len__(self) -> int:
        return len(self.ids)

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """See ``ReadText``."""
        end = int(self._ends[token_index])
        return end - int(self._sizes[self.ids[token_index]]), end

    @cached_property
    def _ends(self) -> numpy.ndarray:
        ends: numpy.ndarray = self._sizes[self.ids.numbers].cumsum()
        return ends


class LooseTokens:
    """The tokens of a text, which may have to be read once more for the characters that each was made from."""

    __slots__ = ("_words", "ids", "read", "text")

    def __init__(self, words: WordReader, text: str, ids: Ids) -> None:
        self._words, self.text, self.ids = words, text, ids
        self.read: ReadText | None = None
        """The text read once more, by ``TextReader.locate`` with others, or at need alone."""

    def __len__(self) -> int:
        return len(self.ids)

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """See ``ReadText``."""
        if self.read is None:
            (self.read,) = self._words.read([self.text])
        return self.read.token_to_chars(token_index)
