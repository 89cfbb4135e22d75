"""Cross-encoders of the BERT kind: one sequence per pair, the first token's vector, a small head.

XLM-RoBERTa (bge-reranker-base, -large, -v2-m3), BERT (ms-marco) and their relatives. The body runs in the precision of
the device, the head always in fp32, because half precision would tie the best documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import gelu

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Pair, PendingLogits, ScoringOptions
from rerank.runtimes.base import TokenIds, pending
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.runtimes.torch_packed import PackedRuntime
from rerank.scorers.base import Reading, ReadsInParts
from rerank.scorers.bert_body import BertSegments, FirstTokenVector
from rerank.scorers.labels import activation_of, score_of_labels
from rerank.scorers.ports import classifier_of
from rerank.scorers.pretrained import (
    activation_bytes,
    load_network,
    open_tokenizer,
    read_config,
    read_tensor,
)
from rerank.scorers.tokens import PairTokenizer, Vocabulary


class HeadParts(NamedTuple):
    """Names of a head's two layers, and the function between them."""

    dense: str
    out: str
    between: Callable[[torch.Tensor], torch.Tensor] = torch.tanh


_ROBERTA = HeadParts("classifier.dense", "classifier.out_proj")
HEADS = {
    "xlm-roberta": _ROBERTA,
    "roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "bert": HeadParts("bert.pooler.dense", "classifier"),
    "electra": HeadParts("classifier.dense", "classifier.out_proj", gelu),
    "distilbert": HeadParts("pre_classifier", "classifier", torch.relu),
    "gte": HeadParts("gte.pooler.dense", "classifier"),
}
"""By model type."""


def encoder_network(checkpoint: Checkpoint, dtype: torch.dtype) -> FirstTokenVector:
    """The body. Raises WeightsBroken where a weight is missing."""
    kind, options = classifier_of(checkpoint)
    return FirstTokenVector(load_network(kind, checkpoint, dtype, **options).base_model)


def pair_segments(checkpoint: Checkpoint) -> BertSegments:
    """Pairs as segments whose first token is read."""
    return BertSegments(checkpoint, read=0)


@dataclass(frozen=True, slots=True)
class Head:
    """Two layers and the function between them, from a vector to a logit."""

    dense: nn.Linear
    out: nn.Linear
    between: Callable[[torch.Tensor], torch.Tensor]

    @torch.inference_mode()
    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """fp32 vectors of shape (pairs, hidden) to logits of shape (pairs)."""
        logits: torch.Tensor = self.out(self.between(self.dense(vectors))).squeeze(-1)
        return logits


def read_head(checkpoint: Checkpoint, card: ModelCard, device: str) -> Head:
    """The head's weights, read from the file: a missing head raises, and is never random."""
    parts = HEADS[checkpoint.config["model_type"]]
    port = checkpoint.evidence.port
    names = (port.stored(name) if port else name for name in (parts.dense, parts.out))
    dense, out = ([read_tensor(checkpoint, f"{name}.{part}") for part in ("weight", "bias")] for name in names)
    one = [score_of_labels(rows, card, checkpoint.config)[None] for rows in out]
    return Head(_linear(dense, device), _linear(one, device), parts.between)


def _linear(weights: Sequence[torch.Tensor], device: str) -> nn.Linear:
    """A layer of these weights and biases."""
    weight, bias = weights
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    state: dict[str, Any] = {"weight": weight.to(device), "bias": bias.to(device)}
    layer.load_state_dict(state, assign=True)
    return layer


class EncoderScorer(ReadsInParts):
    """Pairs as the checkpoint's tokenizer lays them out, scored by body and head."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        runtime: RectangleRuntime | PackedRuntime,
        max_length: int,
        card: ModelCard,
    ) -> None:
        self.max_length = max_length
        self.activation = activation_of(checkpoint, card)
        self.runtime = runtime.description
        self.precision = runtime.precision
        self.padded = runtime.padded
        self.bytes_per_token = activation_bytes(read_config(checkpoint))
        self._vectors = runtime
        self._segment = pair_segments(checkpoint)
        self._head = read_head(checkpoint, card, runtime.device)
        self._tokenizer = PairTokenizer(open_tokenizer(checkpoint.folder))
        self.tokenizer = Vocabulary(lambda: self._tokenizer.tokenizer)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[TokenIds]]:
        """See ``Scorer.reading``. The instruction is ignored: these models take none."""
        return self._tokenizer.pairs(pairs, options.truncation, self.max_length)

    def start(self, batch: Sequence[TokenIds]) -> PendingLogits:
        """See ``Scorer.start``."""
        return pending(self._head(self._vectors([self._segment(pair) for pair in batch])))
