"""Libraries that read texts 8 to 50 times as fast as ``tokenizers``, each for kinds and characters it was compared in.

Both know only what turns text into tokens, and give numbers end to end: `encode_batch_flat`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import fastokens
import numpy
import splintr
from tokenizers import Tokenizer, models, pre_tokenizers

from rerank.runtimes.ids import Ids
from rerank.scorers.word_seams import Seams, steps

logger = logging.getLogger(__name__)

T = TypeVar("T")

_ANY = 2**40
"""Bytes of a token that may stand for more than it spells: more than any text has."""
_NORMALISES = {"NFC", "NFKC", "Precompiled", "Strip"}
_OTHER = re.compile(
    r"[^\x00-\u061c\u061e-\u07fc\u0900-\u097f\u0e00-\u0e7f\u1e00-\u2e42\u2e80-\u32fe\u3300-\ua4ff\uac00-\ud7ff"
    r"\uf900-\uffff\U0001f000-\U0001f16b\U0001f16d-\U0001fbef\U00020000-\U0002b81f]"
)
"""Characters of which the libraries may follow different editions of Unicode, and those of rare scripts."""


class BytePairs:
    """Byte pairs, as Qwen's, Llama 3's and ModernBERT's, by fastokens. Every character was compared."""

    is_kept = False
    """See ``WordReader.is_kept``."""
    times_as_fast = 50
    of_a_text = 3
    """Characters that ``tokenizers`` reads in the time that a text takes in any case."""

    def __init__(self, tokenizer: Tokenizer, fast: fastokens.Tokenizer) -> None:
        self._tokenizer, self._fast = tokenizer, fast
        self._sizes = None if _trims(tokenizer) else _bytes_of_tokens(tokenizer)
        self.locates = self._sizes is not None
        """See ``WordReader.locates``."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> BytePairs | None:
        """None for a tokenizer of another kind."""
        if not _joins_bytes(tokenizer):
            return None
        fast = _opened(fastokens.Tokenizer.from_json_str, tokenizer.to_str())
        return fast and cls(tokenizer, fast)

    def reads(self, _text: str) -> bool:
        """True if this gives the tokens that ``tokenizers`` gives."""
        return True

    def one(self, text: str) -> Ids:
        """A text's tokens. Python's lock is held meanwhile."""
        return Ids.of(self._fast.encode(text).ids)

    def many(self, texts: Sequence[str]) -> tuple[bytes, bytes]:
        """The tokens of texts, end to end, and uint64: how many tokens stand before each, and of how many they are."""
        ids, offsets = self._fast.encode_batch_flat(list(texts))
        return ids, offsets

    def ends(self, text: str, ids: Ids) -> numpy.ndarray | None:
        """The text's bytes up to the end of each token; None if that is not known."""
        normalizer = self._tokenizer.normalizer
        if self._sizes is None or (normalizer is not None and normalizer.normalize_str(text) != text):
            return None
        ends: numpy.ndarray = self._sizes[ids.numbers].cumsum()
        return ends if len(ends) and int(ends[-1]) == len(text.encode()) else None


class Pieces:
    """Word pieces, as BERT's, and the likeliest pieces, as XLM-RoBERTa's, by splintr."""

    is_kept = True
    """See ``WordReader.is_kept``."""
    locates = False
    """See ``WordReader.locates``."""
    times_as_fast = 8
    of_a_text = 5
    """See ``BytePairs``."""

    def __init__(self, tokenizer: Tokenizer, fast: splintr.AnyTokenizer) -> None:
        self._fast, self._normalizer = fast, tokenizer.normalizer
        added = tokenizer.get_added_tokens_decoder().values()
        self._named = [token.content for token in added if not token.normalized]
        self._in_any_form = [self._form(token.content) for token in added if token.normalized]

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Pieces | None:
        """None for a tokenizer of another kind."""
        if not _takes_pieces(tokenizer):
            return None
        plain = _without_added_tokens(tokenizer).to_str()
        if '"byte_fallback":true' in plain:
            return None
        fast = _opened(splintr.from_json_bytes, plain.encode())
        return fast and cls(tokenizer, fast)

    def reads(self, text: str) -> bool:
        """See ``BytePairs.reads``."""
        alike = text.isascii() or not _OTHER.search(text)
        return alike and not any(map(text.__contains__, self._named)) and not self._may_name_in_any_form(text)

    def one(self, text: str) -> Ids:
        """See ``BytePairs.one``."""
        return Ids.of(self._fast.encode(text))

    def many(self, texts: Sequence[str]) -> tuple[bytes, bytes]:
        """See ``BytePairs.many``."""
        ids, offsets = self._fast.encode_batch_flat(list(texts))
        return ids, offsets

    def ends(self, _text: str, _ids: Ids) -> None:
        """Not known."""

    def _may_name_in_any_form(self, text: str) -> bool:
        if not self._in_any_form:
            return False
        if text.isascii():
            # no form has another first letter, but perhaps in the other case
            return any(letter in text for name in self._in_any_form for letter in (name[:1].lower(), name[:1].upper()))
        return any(map(self._form(text).__contains__, self._in_any_form))

    def _form(self, text: str) -> str:
        """What the tokenizer makes of a text before it looks for pieces."""
        return text if self._normalizer is None else str(self._normalizer.normalize_str(text))


def _opened(make: Callable[[T], Any], described: T) -> Any:
    """None if the library refuses the tokenizer."""
    try:
        return make(described)
    except ValueError as error:
        logger.info("texts are read by `tokenizers` alone: %s", error)
        return None


def _joins_bytes(tokenizer: Tokenizer) -> bool:
    model = tokenizer.model
    if not isinstance(model, models.BPE) or tokenizer.encode_special_tokens or Seams.of(tokenizer) is None:
        return False
    forms, parts = steps(tokenizer.normalizer), steps(tokenizer.pre_tokenizer)
    kinds = [part["type"] for part in parts]
    of_bytes = kinds in (["ByteLevel"], ["Split", "ByteLevel"]) and not parts[-1]["add_prefix_space"]
    as_written = [form["type"] for form in forms] in ([], ["NFC"])
    # where a byte is no token, fastokens reads nothing
    complete = all(model.token_to_id(letter) is not None for letter in pre_tokenizers.ByteLevel.alphabet())
    options = (model.dropout, model.unk_token, model.continuing_subword_prefix, model.end_of_word_suffix)
    return of_bytes and as_written and complete and not any(options) and not model.byte_fallback


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


def _takes_pieces(tokenizer: Tokenizer) -> bool:
    """True for WordPiece as BERT has it, and Unigram as XLM-RoBERTa and DeBERTa have it."""
    model, forms, parts = tokenizer.model, steps(tokenizer.normalizer), steps(tokenizer.pre_tokenizer)
    kinds = [part["type"] for part in parts]
    within_words = any(token.single_word for token in tokenizer.get_added_tokens_decoder().values())
    if within_words or tokenizer.encode_special_tokens or Seams.of(tokenizer) is None:
        return False
    if isinstance(model, models.WordPiece):
        options = (model.unk_token, model.continuing_subword_prefix, model.max_input_chars_per_word)
        as_bert = [form["type"] for form in forms] == ["BertNormalizer"] and kinds == ["BertPreTokenizer"]
        return as_bert and options == ("[UNK]", "##", 100) and model.token_to_id("[UNK]") is not None
    marks = kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]) and parts[-1]["prepend_scheme"] == "always"
    return isinstance(model, models.Unigram) and marks and all(map(_is_known_form, forms))


def _is_known_form(form: dict[str, object]) -> bool:
    joins_spaces = form["type"] == "Replace" and form["pattern"] == {"Regex": " {2,}"} and form["content"] == " "
    return form["type"] in _NORMALISES or joins_spaces


def _without_added_tokens(tokenizer: Tokenizer) -> Tokenizer:
    plain = Tokenizer(tokenizer.model)
    if tokenizer.normalizer is not None:
        plain.normalizer = tokenizer.normalizer
    plain.pre_tokenizer = tokenizer.pre_tokenizer
    return plain
