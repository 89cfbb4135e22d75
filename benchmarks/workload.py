"""What is measured: full-size checkpoints with random weights, and documents of mixed length."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    ModernBertConfig,
    ModernBertForSequenceClassification,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from benchmarks.causal_checkpoints import CAUSAL_SIZES, RECIPES, USUAL_SPREAD, save_causal
from rerank.core import Pair
from rerank.evaluation.workload import QUERY as QUERY
from rerank.evaluation.workload import mixed_documents, turned

Score = Callable[[Sequence[Pair]], list[float]]
"""Logits of the pairs of one request."""

BatchedScore = Callable[[Sequence[Pair], int], list[float]]
"""The same, in batches of a given size."""

_NUMBERED = tuple(f"w{number}" for number in range(1000))

_THIN = {"kind": "xlm-roberta", "layers": 2, "heads": 4, "vocabulary": 250002, "positions": 514}
_BGE = {"kind": "xlm-roberta", "vocabulary": 250002}
_MODERN = {"kind": "modernbert", "vocabulary": 50368, "positions": 8192}
# The published configurations; scores do not matter for speed, so the weights are random.
SIZES: dict[str, dict[str, Any]] = {
    "bge-base": _BGE | {"layers": 12, "hidden": 768, "heads": 12, "inner": 3072, "positions": 514},
    "bge-large": _BGE | {"layers": 24, "hidden": 1024, "heads": 16, "inner": 4096, "positions": 514},
    "bge-v2-m3": _BGE | {"layers": 24, "hidden": 1024, "heads": 16, "inner": 4096, "positions": 8194},
    "tinybert": {
        "kind": "bert",
        "layers": 2,
        "hidden": 128,
        "heads": 2,
        "inner": 512,
        "vocabulary": 30522,
        "positions": 512,
    },
    "minilm": {
        "kind": "bert",
        "layers": 6,
        "hidden": 384,
        "heads": 12,
        "inner": 1536,
        "vocabulary": 30522,
        "positions": 512,
    },
    "ettin-17m": _MODERN | {"layers": 7, "hidden": 256, "heads": 4, "inner": 384},
    "ettin-32m": _MODERN | {"layers": 10, "hidden": 384, "heads": 6, "inner": 576},
    "ettin-150m": _MODERN | {"layers": 22, "hidden": 768, "heads": 12, "inner": 1152},
    # of gte-reranker-modernbert-base and granite-embedding-reranker-english-r2, which Ettin's 150m took over
    "modernbert-base": _MODERN | {"layers": 22, "hidden": 768, "heads": 12, "inner": 1152},
    "deberta-v3-base": {
        "kind": "deberta-v2",
        "layers": 12,
        "hidden": 768,
        "heads": 12,
        "inner": 3072,
        "vocabulary": 128100,
        "positions": 512,
    },
    # no real model's: nearly all of it is embeddings, so that it takes memory but hardly time, and its scores lie apart
    "thin-64": _THIN | {"hidden": 64, "inner": 128, "spread": 0.25},
    "thin-80": _THIN | {"hidden": 80, "inner": 160, "spread": 0.25},
}


class _Encoder(NamedTuple):
    """How encoders of one kind are made."""

    config: Any
    model: Any
    special: tuple[str, str, str, str]
    """Tokens that start, pad and end a text, and stand for unknown words."""
    pair: str
    """How the tokenizer lays a pair out."""
    special_ids: tuple[str, ...] = ()
    """Which of them the configuration names."""
    options: Mapping[str, Any] = {}

    @property
    def around_pair(self) -> list[str]:
        """The special tokens of a pair."""
        return [part for part in self.pair.split() if not part.startswith("$")]


_BRACKETS = ("[CLS]", "[PAD]", "[SEP]", "[UNK]")
_ENCODERS = {
    "bert": _Encoder(
        BertConfig,
        BertForSequenceClassification,
        _BRACKETS,
        "{start} $A {end} $B:1 {end}:1",
        options={"type_vocab_size": 2},
    ),
    "xlm-roberta": _Encoder(
        XLMRobertaConfig,
        XLMRobertaForSequenceClassification,
        ("<s>", "<pad>", "</s>", "<unk>"),
        "{start} $A {end} {end} $B {end}",
        ("pad", "bos", "eos"),
        {"type_vocab_size": 1},
    ),
    "deberta-v2": _Encoder(
        DebertaV2Config,
        DebertaV2ForSequenceClassification,
        _BRACKETS,
        "{start} $A {end} $B {end}",
        ("pad",),
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 256,
            "position_biased_input": False,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "type_vocab_size": 0,
        },
    ),
    "modernbert": _Encoder(
        ModernBertConfig,
        ModernBertForSequenceClassification,
        _BRACKETS,
        "{start} $A {end} $B {end}",
        ("pad", "bos", "eos"),
    ),
}


def checkpoint(size: str, folder: Path) -> Path:
    """A checkpoint of this size under ``folder``, made once."""
    target = folder / size
    if not (target / "config.json").is_file():
        torch.manual_seed(0)
        if size in SIZES:
            _save_encoder(SIZES[size], target)
        else:
            save_causal((CAUSAL_SIZES | RECIPES)[size], _NUMBERED, target)
        _name_tokenizer_as_published_ones(target / "tokenizer_config.json")
    return target


def _name_tokenizer_as_published_ones(file: Path) -> None:
    """So that peers with transformers 4 know its class too."""
    facts = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(facts | {"tokenizer_class": "PreTrainedTokenizerFast"}, indent=2), encoding="utf-8")


def _save_encoder(facts: dict[str, Any], target: Path) -> None:
    encoder = _ENCODERS[facts["kind"]]
    tokenizer = _tokenizer(encoder, facts["vocabulary"])
    tokenizer.save_pretrained(target)
    encoder.model(_config(encoder, facts, tokenizer)).save_pretrained(target)


def documents(count: int, seed: int = 0) -> list[str]:
    """Documents of mixed length in which a word is one token."""
    return mixed_documents(count, seed, _NUMBERED)


def documents_of(words: int, count: int, seed: int = 0) -> list[str]:
    """Documents of equally many words."""
    random = numpy.random.default_rng(seed)
    return [" ".join(f"w{word}" for word in random.integers(0, 1000, size=words)) for _ in range(count)]


def other_pairs(pairs: Sequence[Pair], by: int) -> list[Pair]:
    """The same with other texts of the same words: this server keeps what it has read."""
    return [Pair(turned(pair.query, by), turned(pair.document, by)) for pair in pairs]


def token_count(size: str, texts: Sequence[str]) -> int:
    """Tokens of the query with each of these documents, for an encoder of this size."""
    special = len(_ENCODERS[SIZES[size]["kind"]].around_pair)
    return sum(len(QUERY.split()) + len(text.split()) + special for text in texts)


def _config(encoder: _Encoder, facts: dict[str, Any], tokenizer: Any) -> Any:
    ids = {"pad": tokenizer.pad_token_id, "bos": tokenizer.cls_token_id, "eos": tokenizer.sep_token_id}
    special = {f"{name}_token_id": ids[name] for name in encoder.special_ids}
    config = encoder.config(
        vocab_size=facts["vocabulary"],
        hidden_size=facts["hidden"],
        num_hidden_layers=facts["layers"],
        num_attention_heads=facts["heads"],
        intermediate_size=facts["inner"],
        max_position_embeddings=facts["positions"],
        initializer_range=facts.get("spread", USUAL_SPREAD),
        **special,
        **encoder.options,
    )
    config.num_labels = 1
    return config


def _tokenizer(encoder: _Encoder, size: int) -> Any:
    """One word, one token, so that lengths are what the workload says."""
    start, padding, end, unknown = encoder.special
    words = [*encoder.special, *_NUMBERED, *QUERY.split()]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(words))}
    assert len(vocabulary) <= size
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=encoder.pair.format(start=start, end=end),
        special_tokens=[(start, 0), (end, 2)],
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        cls_token=start,
        pad_token=padding,
        sep_token=end,
        unk_token=unknown,
        model_max_length=512,
        model_input_names=["input_ids", *(["token_type_ids"] if ":1" in encoder.pair else []), "attention_mask"],
    )
