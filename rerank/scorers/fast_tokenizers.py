"""Libraries that read texts many times as fast as ``tokenizers``, each for kinds and characters it was compared in."""

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
from rerank.scorers.word_seams import steps

logger = logging.getLogger(__name__)

T = TypeVar("T")

_NORMALISES = {"NFC", "NFKC", "Precompiled", "Strip"}
_OTHER = re.compile(
    r"[^\x00-\u061c\u061e-\u07fc\u0900-\u097f\u0e00-\u0e7f\u1e00-\u2e42\u2e80-\u32fe\u3300-\ua4ff\uac00-\ud7ff"
    r"\uf900-\uffff\U0001f000-\U0001f16b\U0001f16d-\U0001fbef\U00020000-\U0002b81f]"
)
"""Characters of which the libraries may follow different editions of Unicode, and those of rare scripts."""


class _Library:
    """What both libraries do alike."""

    def __init__(self, fast: Any) -> None:
        self._fast = fast

    def many(self, texts: Sequence[str]) -> tuple[bytes, bytes]:
        """The tokens of texts, end to end, and uint64: how many tokens stand before each, and of how many they are."""
        ids, offsets = self._fast.encode_batch_flat(list(texts))
        return ids, offsets


class BytePairs(_Library):
    """Byte pairs, as Qwen's, Llama 3's and ModernBERT's, by fastokens. Every character was compared."""

    is_kept = False
    """See ``WordReader.is_kept``."""
    times_as_fast = 50
    of_a_text = 3
    """Characters that ``tokenizers`` reads in the time that a text takes in any case."""

    def __init__(self, tokenizer: Tokenizer, fast: fastokens.Tokenizer) -> None:
        super().__init__(fast)
        added = tokenizer.get_added_tokens_decoder().values()
        self._sizes = _bytes_of_tokens(tokenizer) if _spells(tokenizer) else None
        self._taking_spaces = [token.content for token in added if token.lstrip or token.rstrip]

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

    def sizes(self, text: str) -> numpy.ndarray | None:
        """See ``Pieces.sizes``. Where a text is not ASCII, what the tokens spell may be another form of it."""
        spelled = text.isascii() and not any(map(text.__contains__, self._taking_spaces))
        return self._sizes if spelled else None


class Pieces(_Library):
    """Word pieces, as BERT's, and the likeliest pieces, as XLM-RoBERTa's, by splintr."""

    is_kept = True
    """See ``WordReader.is_kept``."""
    times_as_fast = 8
    of_a_text = 5
    """See ``BytePairs``."""

    def __init__(self, tokenizer: Tokenizer, fast: splintr.AnyTokenizer) -> None:
        super().__init__(fast)
        added, normalizer = tokenizer.get_added_tokens_decoder().values(), tokenizer.normalizer
        self._named = [token.content for token in added if not token.normalized]
        in_any_form = [token.content for token in added if token.normalized]
        forms = in_any_form if normalizer is None else map(normalizer.normalize_str, in_any_form)
        self._first_letters = [letter for form in forms for letter in (form[:1].lower(), form[:1].upper())]
        """Of added tokens that a text may name in other forms; those of ASCII texts differ in the case of letters."""

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
        if not text.isascii() and (self._first_letters or _OTHER.search(text)):
            return False
        return not any(map(text.__contains__, (*self._named, *self._first_letters)))

    def one(self, text: str) -> Ids:
        """See ``BytePairs.one``."""
        return Ids.of(self._fast.encode(text))

    def sizes(self, _text: str) -> numpy.ndarray | None:
        """Characters that each token spells, by its number; None where a text's tokens may spell others than it has."""
        return None


def _opened(make: Callable[[T], Any], described: T) -> Any:
    """None if the library refuses the tokenizer."""
    try:
        return make(described)
    except ValueError as error:
        logger.info("texts are read by `tokenizers` alone: %s", error)
        return None


def _joins_bytes(tokenizer: Tokenizer) -> bool:
    model = tokenizer.model
    if not isinstance(model, models.BPE):
        return False
    forms, parts = steps(tokenizer.normalizer), steps(tokenizer.pre_tokenizer)
    kinds = [part["type"] for part in parts]
    of_bytes = kinds in (["ByteLevel"], ["Split", "ByteLevel"]) and not parts[-1]["add_prefix_space"]
    as_written = [form["type"] for form in forms] in ([], ["NFC"])
    # where a byte is no token, fastokens reads nothing
    complete = all(model.token_to_id(letter) is not None for letter in pre_tokenizers.ByteLevel.alphabet())
    options = (model.dropout, model.unk_token, model.continuing_subword_prefix, model.end_of_word_suffix)
    return of_bytes and as_written and complete and not any(options) and not model.byte_fallback


def _spells(tokenizer: Tokenizer) -> bool:
    """True if the characters of a token are those that it spells, with white space around it."""
    after = tokenizer.post_processor
    trims = after is not None and b'"trim_offsets":true' in after.__getstate__()
    added = tokenizer.get_added_tokens_decoder().values()
    return not trims and all(token.content.isascii() for token in added if token.normalized)


def _bytes_of_tokens(tokenizer: Tokenizer) -> numpy.ndarray:
    """Bytes that each token spells, by its number."""
    # a vocabulary of bytes has a character for each
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    added = {number: len(token.content.encode()) for number, token in tokenizer.get_added_tokens_decoder().items()}
    sizes = numpy.zeros(max([*vocabulary.values(), *added]) + 1, numpy.int64)
    sizes[[*vocabulary.values()]] = [*map(len, vocabulary)]
    sizes[[*added]] = [*added.values()]
    return sizes


def _takes_pieces(tokenizer: Tokenizer) -> bool:
    """True for WordPiece as BERT has it, and Unigram as XLM-RoBERTa and DeBERTa have it."""
    model, forms, parts = tokenizer.model, steps(tokenizer.normalizer), steps(tokenizer.pre_tokenizer)
    kinds = [part["type"] for part in parts]
    if any(token.single_word for token in tokenizer.get_added_tokens_decoder().values()):
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
