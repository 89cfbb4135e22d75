"""Language models of any kind with random weights, and code of their own that must not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    AutoConfig,
    PreTrainedTokenizerFast,
)

from tests.support.tiny_checkpoints import save
from tests.support.tiny_tokenizers import (
    sentence_piece_tokenizer,
    worded_tokenizer,
)


def make_language_model(
    folder: Path, kind: str, *, seed: int = 0, spm: bool = False, head: bool = False, **settings: Any
) -> Path:
    """A causal language model of a ``model_type`` without a template, in ``folder``; ``settings`` are its config's.

    Its tokenizer is Qwen's with more words or, with ``spm``, Mistral's. ``head``: converted to a classifier.
    """
    tokenizer = sentence_piece_tokenizer() if spm else worded_tokenizer(starts=kind not in ("qwen2", "qwen3"))
    fast: Any = PreTrainedTokenizerFast
    padding = "<unk>" if spm else "<|endoftext|>"
    fast(tokenizer_object=tokenizer, pad_token=padding, model_max_length=512).save_pretrained(folder)
    sizes = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "pad_token_id": tokenizer.token_to_id(padding),
        "head_dim": 16 if kind in ("qwen3", "gemma") else 8,
        "sliding_window": None,
    }
    config = AutoConfig.for_model(kind, **sizes | settings)
    config.num_labels = 1
    models_of: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING if head else MODEL_FOR_CAUSAL_LM_MAPPING
    save(models_of[type(config)], config, folder, seed)
    return folder


def make_bidirectional_llama(folder: Path, *, seed: int = 0) -> Path:
    """A Llama as llama-nemotron-rerank-1b-v2 is one, with code of its own that must not run, in ``folder``."""
    make_language_model(folder, "llama", seed=seed, head=True)
    add_own_code(folder, "AutoModelForSequenceClassification")
    change_config(
        folder,
        architectures=["LlamaBidirectionalForSequenceClassification"],
        model_type="llama_bidirec",
        pooling="avg",
        temperature=0.5,
    )
    return folder


def add_own_code(folder: Path, kind: str) -> None:
    """Lay code beside the checkpoint that says so if it runs, and name it in the configuration."""
    (folder / "own.py").write_text('raise RuntimeError("the checkpoint\'s own code ran")\n')
    change_config(folder, auto_map={"AutoConfig": "own.Config", kind: "own.Model"})


def change_config(folder: Path, **settings: Any) -> None:
    """Set these in ``config.json``."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
