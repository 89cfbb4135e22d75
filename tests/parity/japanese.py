"""Folders with BertJapaneseTokenizer, and what BERT makes of its tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification
from transformers.models.bert_japanese.tokenization_bert_japanese import BertJapaneseTokenizer

from tests.parity.layouts import encoder

TEXT = "機械学習は人工知能の一分野です。パンダは中国に住むクマ科の動物です。東京特許許可局、水族館。hello world 2026"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def describe(folder: Path, kind: str = "wordpiece", **changes: Any) -> None:
    """The tokenizer's files as tohoku's BERT has them."""
    characters = sorted(set(TEXT) - {" "})
    pieces = [
        "機械",
        "学習",
        "人工",
        "知能",
        "hello",
        "wor",
        "##ld",
        "##館",
        *characters,
        *(f"##{c}" for c in characters),
    ]
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *pieces]) + "\n")
    settled = {
        "tokenizer_class": "BertJapaneseTokenizer",
        "word_tokenizer_type": "mecab",
        "subword_tokenizer_type": kind,
        "do_lower_case": False,
        "mecab_kwargs": {"mecab_dic": "unidic_lite"},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settled | changes))


def make_japanese(folder: Path) -> Path:
    """A reranker as hotchpotch/japanese-reranker-cross-encoder-base-v1 is one."""
    encoder(folder, "bert", vocab_size=200)
    (folder / "tokenizer.json").unlink()
    describe(folder)
    return folder


@torch.inference_mode()
def japanese_by_hand(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """With the types of a pair, which were read by default when these models were trained, and now only on request."""
    model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = BertJapaneseTokenizer.from_pretrained(folder)
    asked: dict[str, Any] = {"return_token_type_ids": True, "truncation": "only_second", "max_length": 128}
    return [float(model(**tokenizer(*pair, return_tensors="pt", **asked)).logits) for pair in pairs]
