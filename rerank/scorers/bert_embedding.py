"""Embedding models of the BERT kind, run through a body of ours: bge-m3, e5, all-MiniLM and their like."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoModel

from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import TokenIds
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.runtimes.torch_packed import PackedRuntime
from rerank.scorers.bert_body import MODEL_TYPES, BertSegments, FirstTokenVector, MeanVector
from rerank.scorers.bi_encoder import SentenceReading
from rerank.scorers.pretrained import load_network, open_tokenizer, read_json, tokenizer_length

# in sentence_bert_config.json
_KNOWN_SETTINGS = {"max_seq_length", "do_lower_case", "transformer_task", "modality_config", "module_output_name"}


@dataclass(frozen=True, slots=True)
class BertEmbedding:
    """An embedding model that a body of ours runs, as its folder describes it."""

    checkpoint: Checkpoint
    mean: bool
    """True if its vector is the mean of all tokens', False if it is the first token's."""

    @property
    def segments(self) -> BertSegments:
        """Its texts as segments."""
        config = read_json(self.checkpoint.folder / "config.json")
        return BertSegments(config, read=None if self.mean else 0)

    def network(self, dtype: torch.dtype) -> FirstTokenVector | MeanVector:
        """The body. Raises WeightsBroken where a weight is missing."""
        body = load_network(AutoModel, self.checkpoint, dtype, add_pooling_layer=False)
        return MeanVector(body) if self.mean else FirstTokenVector(body)

    @property
    def max_tokens(self) -> int | None:
        """Tokens of a text as the folder says; None where it does not."""
        own = _settings(self.checkpoint.folder).get("max_seq_length")
        return int(own) if own else tokenizer_length(self.checkpoint.folder)

    @property
    def reading(self) -> SentenceReading:
        """How it reads texts."""
        prompts = read_json(self.checkpoint.folder / "config_sentence_transformers.json").get("prompts")
        return SentenceReading(open_tokenizer(self.checkpoint.folder), prompts or {})


def bert_embedding(checkpoint: Checkpoint) -> BertEmbedding | None:
    """The model, if a body of ours runs it; None for what asks for more than body, pooling and a normalised vector."""
    folder = checkpoint.folder
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in _modules(folder)]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    transformer, pooling = _modules(folder)[:2]
    if (
        transformer["path"]
        or read_json(folder / "config.json").get("model_type") not in MODEL_TYPES
        or not (folder / "tokenizer.json").is_file()
        or not _plain(_settings(folder))
    ):
        return None
    pooled = Pooling.load(str(folder), subfolder=str(pooling["path"]), local_files_only=True)
    if pooled.pooling_mode not in ("mean", "cls") or not pooled.include_prompt:
        return None
    return BertEmbedding(checkpoint, mean=pooled.pooling_mode == "mean")


def _modules(folder: Path) -> list[dict[str, Any]]:
    file = folder / "modules.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []


def _settings(folder: Path) -> dict[str, Any]:
    """``sentence_bert_config.json`` or what older versions called it."""
    settings: dict[str, Any] = Transformer.load_config(str(folder), local_files_only=True)
    return settings


def _plain(settings: dict[str, Any]) -> bool:
    """True if a text goes to the body as the tokenizer reads it, and the body's last states come out."""
    return (
        settings.keys() <= _KNOWN_SETTINGS
        and not settings.get("do_lower_case")
        and settings.get("transformer_task", "feature-extraction") == "feature-extraction"
        and "message" not in settings["modality_config"]
    )


class BertSentences:
    """Vectors of a model of the BERT kind, from sequences end to end."""

    def __init__(self, segments: BertSegments, runtime: RectangleRuntime | PackedRuntime) -> None:
        self.padded = runtime.padded
        self.device = runtime.device
        self.description = runtime.description
        self._segment = segments
        self._runtime = runtime

    def __call__(self, sequences: Sequence[TokenIds]) -> torch.Tensor:
        """See ``SentenceVectors``."""
        return self._runtime([self._segment(sequence) for sequence in sequences])
