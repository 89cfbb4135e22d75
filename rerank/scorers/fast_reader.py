"""Texts to tokens by the library fastokens, which reads byte pairs 50 times as fast as ``tokenizers`` does.

It knows only what turns text into tokens. Which characters a token was made from follows from the bytes that it
spells, and where it does not, ``tokenizers`` reads the text once more.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property

import numpy
from fastokens import Tokenizer as FastTokenizer
from tokenizers import Encoding, Tokenizer, models, pre_tokenizers

from rerank.runtimes.ids import BYTES, Ids
from rerank.scorers.word_reader import TRIALS, ReadText
from rerank.scorers.word_seams import Seams, steps

logger = logging.getLogger(__name__)

_TIMES_AS_FAST = 50
_OF_A_TEXT = 3
"""Characters that ``tokenizers`` reads in the time that a text takes in any case."""
_AT_ONCE = 10_000
"""Characters of texts that are read without giving Python's lock to other threads: getting it back takes longer. With
10 documents a request a server answers 1.1 to 1.2 times as many."""
_ANY = 2**40
"""Bytes of a token that may stand for more than it spells: more than any text has."""


class FastReader:
    """A tokenizer of byte pairs that adds no special tokens. Any thread may use it."""

    is_plain = True
    """See ``WordReader.is_plain``."""
    is_kept = False
    """See ``WordReader.is_kept``."""

    def __init__(self, tokenizer: Tokenizer, fast: FastTokenizer) -> None:
        self.tokenizer = tokenizer
        self._fast = fast
        self.sizes = None if _trims(tokenizer) else _bytes_of_tokens(tokenizer)
        """Bytes that each token spells; None where the characters of a token are not all that it was made from."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> FastReader | None:
        """None for a tokenizer that fastokens is not known to give the same tokens for."""
        fast = _opened(tokenizer) if _joins_bytes(tokenizer) else None
        reader = fast and cls(tokenizer, fast)
        return reader if reader and reader._agrees() else None

    def read(self, texts: Sequence[str]) -> list[ReadText]:
        """Each text's tokens."""
        if sum(map(len, texts)) <= _AT_ONCE:
            return [_Text(self, text, Ids.of(self._fast.encode(text).ids)) for text in texts]
        raw, offsets = self._fast.encode_batch_flat(list(texts))
        ends = (numpy.frombuffer(offsets, numpy.uint64) * BYTES).tolist()
        rows = zip(texts, ends, ends[1:], strict=False)
        return [_Text(self, text, Ids(raw[first:last])) for text, first, last in rows]

    def read_whole(self, texts: Sequence[str]) -> list[Encoding]:
        """The same by ``tokenizers``."""
        return list(self.tokenizer.encode_batch(texts, add_special_tokens=False)) if texts else []

    def effort(self, texts: int, characters: int) -> int:
        """See ``WordReader.effort``."""
        return _OF_A_TEXT * texts + characters // _TIMES_AS_FAST

    def normalised(self, text: str) -> str:
        """The text that tokens are made from."""
        normalizer = self.tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def _agrees(self) -> bool:
        read, whole = self.read(TRIALS), self.read_whole(TRIALS)
        same = [list(text.ids) for text in read] == [text.ids for text in whole]
        if not same:
            logger.warning("fastokens reads texts into other tokens than tokenizers does, and is not used")
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
            return self._whole.token_to_chars(token_index)
        first, last = int(ends[token_index - 1]) if token_index else 0, int(ends[token_index])
        if self._text.isascii():
            return first, last
        # bytes that continue a character begin with the bits 10
        begun = (numpy.frombuffer(self._text[:last].encode(), numpy.uint8)[:last] & 0xC0 != 0x80).cumsum()
        return int(begun[first]) - 1, int(begun[last - 1])

    @cached_property
    def _ends(self) -> numpy.ndarray | None:
        """The text's bytes up to the end of each token; None if the tokens do not spell it."""
        sizes, text = self._reader.sizes, self._text
        if sizes is None or self._reader.normalised(text) != text:
            return None
        ends: numpy.ndarray = sizes[self.ids.numbers].cumsum()
        return ends if len(ends) and int(ends[-1]) == len(text.encode()) else None

    @cached_property
    def _whole(self) -> Encoding:
        (whole,) = self._reader.read_whole([self._text])
        return whole


def _joins_bytes(tokenizer: Tokenizer) -> bool:
    """True for a tokenizer of bytes all of whose steps are known, as Qwen's, Llama 3's and ModernBERT's are."""
    model = tokenizer.model
    if not isinstance(model, models.BPE) or tokenizer.encode_special_tokens or Seams.of(tokenizer) is None:
        return False
    of_bytes = any(step["type"] == "ByteLevel" for step in steps(tokenizer.pre_tokenizer))
    # where a byte is no token, fastokens reads nothing
    complete = all(model.token_to_id(letter) is not None for letter in pre_tokenizers.ByteLevel.alphabet())
    options = (model.dropout, model.unk_token, model.continuing_subword_prefix, model.end_of_word_suffix)
    return of_bytes and complete and not any(options) and not model.byte_fallback


def _opened(tokenizer: Tokenizer) -> FastTokenizer | None:
    """None if the library refuses the tokenizer."""
    try:
        return FastTokenizer.from_json_str(tokenizer.to_str())
    except ValueError as error:
        logger.info("fastokens is not used: %s", error)
        return None


def _trims(tokenizer: Tokenizer) -> bool:
    """True if white space around a token is not counted among its characters."""
    return tokenizer.post_processor is not None and b'"trim_offsets":true' in tokenizer.post_processor.__getstate__()


def _bytes_of_tokens(tokenizer: Tokenizer) -> numpy.ndarray:
    """Bytes that each token spells, by its number."""
    # a vocabulary of bytes has a character for each
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    added = {
        # of one that takes spaces with it `tokenizers` gives its own account
        number: _ANY if token.lstrip or token.rstrip else len(token.content.encode())
        for number, token in tokenizer.get_added_tokens_decoder().items()
    }
    sizes = numpy.zeros(max([*vocabulary.values(), *added]) + 1, numpy.int64)
    sizes[[*vocabulary.values()]] = [*map(len, vocabulary)]
    sizes[[*added]] = [*added.values()]
    return sizes
