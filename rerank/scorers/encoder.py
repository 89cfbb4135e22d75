"""Cross-encoders of the BERT kind: one sequence a pair, the first token's vector, a small head.

The family of XLM-RoBERTa (bge-reranker-base, -large, -v2-m3) and BERT (ms-marco). The body runs in whatever precision
suits the device; the head always in fp32, because half precision would tie the best documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Pair, Truncation
from rerank.runtimes.base import Runtime
from rerank.scorers.padding import pad
from rerank.scorers.pretrained import (
    checkpoint_activation,
    load_network,
    open_tokenizer,
    read_json,
    read_tensor,
    refuse_other_labels,
)
from rerank.scorers.tokens import TokenIds, encode_pairs

# model type -> names of the head's two layers; between them stands a tanh
_HEADS = {
    "xlm-roberta": ("classifier.dense", "classifier.out_proj"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
    "bert": ("bert.pooler.dense", "classifier"),
}


def is_encoder_checkpoint(folder: Path) -> bool:
    """True if this family scores the checkpoint: a known body with a classification head, and no prompt of its own."""
    config = read_json(folder / "config.json")
    architecture = str((config.get("architectures") or [""])[0])
    own_prompt = read_json(folder / "config_sentence_transformers.json").get("default_prompt_name")
    return (
        config.get("model_type") in _HEADS
        and architecture.endswith("ForSequenceClassification")
        and (folder / "tokenizer.json").is_file()
        and not (folder / "modules.json").is_file()
        and own_prompt is None
    )


class FirstTokenVector(nn.Module):
    """The body of a cross-encoder, down to the vector of each pair's first token."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Vectors of shape (pairs, hidden)."""
        given = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.body(input_ids=input_ids, attention_mask=attention_mask, **given).last_hidden_state
        vectors: torch.Tensor = states[:, 0]
        return vectors


def encoder_network(checkpoint: Checkpoint) -> FirstTokenVector:
    """The body in fp32. Raises WeightsBroken where a weight is missing."""
    model = load_network(AutoModelForSequenceClassification, checkpoint, torch.float32)
    return FirstTokenVector(model.base_model)


def encoder_inputs(folder: Path) -> tuple[str, ...]:
    """Names of the inputs; BERT tells query and document apart by segment ids."""
    names = ("input_ids", "attention_mask")
    return (*names, "token_type_ids") if read_json(folder / "config.json").get("type_vocab_size", 1) > 1 else names


@dataclass(frozen=True, slots=True)
class Head:
    """dense, tanh, out: a vector to a logit."""

    dense: nn.Linear
    out: nn.Linear

    @torch.inference_mode()
    def __call__(self, vectors: torch.Tensor) -> list[float]:
        """fp32 vectors of shape (pairs, hidden) to one logit a pair."""
        logits: list[float] = self.out(torch.tanh(self.dense(vectors))).squeeze(-1).tolist()
        return logits


def read_head(checkpoint: Checkpoint, device: str) -> Head:
    """The head's weights, straight from the file: a head that is not there cannot be random."""
    names = _HEADS[read_json(checkpoint.folder / "config.json")["model_type"]]
    dense, out = (_linear(checkpoint, name, device) for name in names)
    refuse_other_labels(out.out_features)
    return Head(dense, out)


def _linear(checkpoint: Checkpoint, name: str, device: str) -> nn.Linear:
    weight, bias = (read_tensor(checkpoint, f"{name}.{part}") for part in ("weight", "bias"))
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    state: dict[str, Any] = {"weight": weight.to(device), "bias": bias.to(device)}
    layer.load_state_dict(state, assign=True)
    return layer


class EncoderScorer:
    """Pairs as the checkpoint's tokenizer lays them out, scored by body and head."""

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, max_length: int) -> None:
        config = read_json(checkpoint.folder / "config.json")
        self.max_length = max_length
        self.activation = checkpoint_activation(checkpoint.folder)
        self.runtime = runtime.description
        self._runtime = runtime
        self._head = read_head(checkpoint, runtime.device)
        self._tokenizer = open_tokenizer(checkpoint.folder)
        self._pad_id = int(config.get("pad_token_id") or 0)
        self._segments = "token_type_ids" in encoder_inputs(checkpoint.folder)

    def encode(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[TokenIds]:
        """See ``Scorer.encode``. These models know no instruction, so it is left out."""
        del instruction
        return encode_pairs(self._tokenizer, pairs, truncation, self.max_length)

    def score(self, batch: Sequence[TokenIds]) -> list[float]:
        """See ``Scorer.score``."""
        return self._head(self._runtime(pad(batch, self._pad_id, segments=self._segments)))
