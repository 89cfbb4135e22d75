"""Tokenizers of tiny checkpoints. Not trained: the same every time."""

from __future__ import annotations

import json
import math
from collections import Counter

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

TEXTS = (
    "what is machine learning?",
    "Machine learning is a branch of AI",
    "Python is a programming language",
    "the giant panda is a bear",
    "机器学习是人工智能的一个分支",
    "short word and one more word",
)
_SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def unigram_tokenizer() -> Tokenizer:
    """Words and characters of ``TEXTS``. Not trained: the library's trainer breaks ties differently every time."""
    counts = Counter("▁" + word for text in TEXTS for word in text.split())
    characters = sorted(set("".join(counts)))
    pieces = [(token, 0.0) for token in _SPECIAL_TOKENS]
    pieces += [(word, math.log(count / counts.total())) for word, count in sorted(counts.items())]
    pieces += [(character, -10.0) for character in characters if character not in counts]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=_SPECIAL_TOKENS.index("<unk>"), byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def byte_level_tokenizer() -> Tokenizer:
    """Bytes, the words a reranker answers with, and Qwen's special tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: place for place, character in enumerate(alphabet)}
    merges = [("y", "e"), ("ye", "s"), ("n", "o"), ("Ġ", "d"), ("Ċ", "Ċ")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    pattern = Regex(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(pattern, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False) for token in ("<think>", "</think>")])
    return tokenizer


def worded_tokenizer(*, starts: bool) -> Tokenizer:
    """Qwen's with tokens of which a prompt's texts must not share any; ``starts``: ``<s>`` stands before a text."""
    content = json.loads(byte_level_tokenizer().to_str())
    vocabulary = content["model"]["vocab"]
    merges = [
        ("e", "s"),
        ("Y", "es"),
        ("N", "o"),
        ("?", "Ċ"),
        (".", "Ċ"),
        ("Ġ", "Ċ"),
        (":", "w"),
        (":", "Ġ"),
        ("Ġ", "?"),
    ]
    added = content.pop("added_tokens")
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    content["model"]["merges"] += [list(merge) for merge in merges]
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(content | {"added_tokens": []}))
    tokenizer.add_special_tokens([AddedToken(token["content"], special=True) for token in added])
    if starts:
        tokenizer.add_special_tokens([AddedToken("<s>", special=True)])
        start = ("<s>", tokenizer.token_to_id("<s>"))
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[start])
    return tokenizer


def sentence_piece_tokenizer() -> Tokenizer:
    """As Mistral's: ``<s>`` before a text, a mark before its first word and for every space, no splitting, bytes."""
    tokens = ["<unk>", "<s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    tokens += [chr(code) for code in range(33, 127)]
    merges = [("▁", "<"), ("▁", "M"), ("?", "?"), ("▁", "??"), ("▁", "▁"), ("e", "n"), ("▁", "q")]
    tokens += ["".join(merge) for merge in merges]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in ("<unk>", "<s>")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer
