"""Tokenizers of the published sizes with made-up vocabularies, and texts in made-up words for them."""

from __future__ import annotations

from pathlib import Path

import numpy
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

from rerank.catalog.prompts import QWEN3_RERANKER

KINDS = ("xlm-roberta", "qwen3")
_LETTERS = "etaoinshrdlucmfwypvbgkjqxz"
_UNIGRAM_PIECES = 250_002
_BPE_PIECES = 151_643
_COMMON_WORDS = 20_000
_RARE_WORDS = 300_000
_ZIPF = 1.1
"""Exponent of the frequencies of words by rank; about 1 in natural texts."""
_WORDS_OF_A_DOCUMENT = 115
"""So that a pair has about 160 tokens."""


def tokenizer_of(kind: str, folder: Path) -> Tokenizer:
    """The tokenizer, made once, in a folder of its kind."""
    file = folder / kind / "tokenizer.json"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        (_unigram() if kind == "xlm-roberta" else _byte_pairs()).save(str(file))
    return Tokenizer.from_file(str(file))


def texts(count: int, seed: int = 0) -> list[str]:
    """Documents, all different: the commoner a word, the earlier its rank, as in natural texts.

    The vocabularies hold the first 20,000 whole, which are nine words of ten.
    """
    words = [*_words(_COMMON_WORDS, seed=1), *_words(_RARE_WORDS, seed=3)]
    chances = 1 / numpy.arange(1, len(words) + 1) ** _ZIPF
    shape = (count, _WORDS_OF_A_DOCUMENT)
    places = numpy.random.default_rng(seed).choice(len(words), size=shape, p=chances / chances.sum())
    return [" ".join([words[place] for place in row]) for row in places]


def _words(count: int, seed: int, shortest: int = 3, longest: int = 9) -> list[str]:
    """Words in which some letters are more frequent than others."""
    random = numpy.random.default_rng(seed)
    weights = numpy.arange(len(_LETTERS), 0, -1)
    found: dict[str, None] = {}
    while len(found) < count:
        letters = random.choice(list(_LETTERS), p=weights / weights.sum(), size=(count, longest))
        lengths = random.integers(shortest, longest + 1, size=count)
        found |= dict.fromkeys("".join(row[:length]) for row, length in zip(letters, lengths, strict=True))
    return list(found)[:count]


def _unigram() -> Tokenizer:
    """As XLM-RoBERTa's: words and parts of words, the likeliest division counts."""
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *_LETTERS]
    pieces += [f"▁{word}" for word in _words(_COMMON_WORDS, seed=1)]
    parts = _words(_UNIGRAM_PIECES, seed=2, shortest=3, longest=8)
    found = list(dict.fromkeys([*pieces, *parts]))[:_UNIGRAM_PIECES]
    scored = [(piece, -float(5 + place / 20_000 + 2 / len(piece))) for place, piece in enumerate(found)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in pieces[:3]])
    return tokenizer


def _byte_pairs() -> Tokenizer:
    """As Qwen's: bytes, merged letter by letter into words, those of the prompt first."""
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    prompt = f"{QWEN3_RERANKER.system}{QWEN3_RERANKER.ask(QWEN3_RERANKER.instruction, '')}{QWEN3_RERANKER.suffix}"
    words = [word for word, _ in byte_level.pre_tokenize_str(prompt)]
    words += [f"Ġ{word}" for seed in (1, 2) for word in _words(_COMMON_WORDS, seed)]
    vocabulary = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges: list[tuple[str, str]] = []
    for word in words:
        for end in range(1, len(word)):
            if word[: end + 1] not in vocabulary and len(vocabulary) < _BPE_PIECES:
                merges.append((word[:end], word[end]))
                vocabulary[word[: end + 1]] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = byte_level
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return tokenizer
