"""Checkpoint folders, whole ones and broken ones, small enough to make for every test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy
from safetensors.numpy import save_file

XLM_R: dict[str, Any] = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "model_type": "xlm-roberta",
    "max_position_embeddings": 514,
    "pad_token_id": 1,
}
BERT_ENCODER: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "max_position_embeddings": 512,
    "pad_token_id": 0,
}


def write_json(file: Path, content: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def write_weights(file: Path, name: str = "classifier.weight") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: numpy.ones((8, 8), dtype=numpy.float32)}, file)


def write_checkpoint(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """A whole checkpoint; a cross-encoder of the XLM-R kind unless told otherwise."""
    write_json(folder / "config.json", XLM_R if config is None else config)
    write_json(folder / "tokenizer.json", {})
    write_weights(folder / "model.safetensors")
    return folder


def write_modules(folder: Path, *kinds: str) -> None:
    """The list of a sentence-transformers model's modules."""
    modules = [{"idx": place, "type": f"sentence_transformers.models.{kind}"} for place, kind in enumerate(kinds)]
    write_json(folder / "modules.json", modules)


def cut_short(file: Path, by: int = 16) -> None:
    """What a broken download leaves."""
    file.write_bytes(file.read_bytes()[:-by])


def write_cache_snapshot(cache: Path, repo: str, commit: str = "c0ffee", revision: str = "main") -> Path:
    """A repository as huggingface_hub lays it down in its cache; returns the snapshot's folder."""
    root = cache / f"models--{repo.replace('/', '--')}"
    refs = root / "refs"
    refs.mkdir(parents=True, exist_ok=True)
    (refs / revision).write_text(commit, encoding="utf-8")
    return write_checkpoint(root / "snapshots" / commit)
