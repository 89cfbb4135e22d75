"""What is measured: full-size checkpoints with random weights, and documents of mixed length."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

QUERY = "how do token budgets keep a batch within memory"

# The published configurations; scores do not matter for speed, so the weights are random.
SIZES: dict[str, dict[str, Any]] = {
    "bge-base": {"layers": 12, "hidden": 768, "heads": 12, "inner": 3072, "vocabulary": 250002, "positions": 514},
    "bge-large": {"layers": 24, "hidden": 1024, "heads": 16, "inner": 4096, "vocabulary": 250002, "positions": 514},
    "minilm": {"layers": 6, "hidden": 384, "heads": 12, "inner": 1536, "vocabulary": 30522, "positions": 512},
}


def checkpoint(size: str, folder: Path) -> Path:
    """A checkpoint of this size under ``folder``, made once."""
    target = folder / size
    if not (target / "config.json").is_file():
        facts = SIZES[size]
        _tokenizer(facts["vocabulary"], bert=size == "minilm").save_pretrained(target)
        config = _config(facts, bert=size == "minilm")
        torch.manual_seed(0)
        kind: Any = BertForSequenceClassification if size == "minilm" else XLMRobertaForSequenceClassification
        kind(config).save_pretrained(target)
    return target


def documents(count: int, seed: int = 0) -> list[str]:
    """Documents of 20 to 370 words, log-normal, about 138 on average; a word is one token."""
    random = numpy.random.default_rng(seed)
    lengths = numpy.clip(random.lognormal(mean=4.75, sigma=0.6, size=count), 20, 370).astype(int)
    return [" ".join(f"w{word}" for word in random.integers(0, 1000, size=length)) for length in lengths]


def body_parameters(folder: Path) -> int:
    """Parameters that multiply every token: all of the layers, not the embeddings."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    return int(config["num_hidden_layers"] * (4 * hidden * hidden + 2 * hidden * inner))


def _config(facts: dict[str, Any], *, bert: bool) -> Any:
    kind: Any = BertConfig if bert else XLMRobertaConfig
    special = {} if bert else {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    config = kind(
        vocab_size=facts["vocabulary"],
        hidden_size=facts["hidden"],
        num_hidden_layers=facts["layers"],
        num_attention_heads=facts["heads"],
        intermediate_size=facts["inner"],
        max_position_embeddings=facts["positions"],
        type_vocab_size=2 if bert else 1,
        **special,
    )
    config.num_labels = 1
    return config


def _tokenizer(size: int, *, bert: bool) -> Any:
    """One word, one token, so that lengths are what the workload says."""
    special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]"] if bert else ["<s>", "<pad>", "</s>", "<unk>"]
    words = [*special, *(f"w{number}" for number in range(1000)), *QUERY.split()]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(words))}
    assert len(vocabulary) <= size
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[3]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    start, end = special[0], special[2]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        pair=f"{start} $A {end} $B:1 {end}:1" if bert else f"{start} $A {end} {end} $B {end}",
        special_tokens=[(start, 0), (end, 2)],
    )
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        cls_token=start,
        pad_token=special[1],
        sep_token=end,
        unk_token=special[3],
        model_max_length=512,
        model_input_names=["input_ids", *(["token_type_ids"] if bert else []), "attention_mask"],
    )
