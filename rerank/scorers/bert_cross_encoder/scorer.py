"""Cross-encoders of the BERT kind: one sequence per pair, the first token's vector, a small head.

XLM-RoBERTa (bge-reranker-base, -large, -v2-m3), BERT (ms-marco) and their relatives. The body runs in the precision of
the device, the head always in fp32, because half precision would tie the best documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Pair, PendingLogits, ScoringOptions
from rerank.runtimes.base import TokenIds, Values, pending
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.scorers.base import Reading, ReadsInParts
from rerank.scorers.bert_kinds import BertSegments
from rerank.scorers.heads import Linear, gelu, read_linear, relu, tanh
from rerank.scorers.labels import activation_of, score_of_labels
from rerank.scorers.ports import classifier_of
from rerank.scorers.pretrained import (
    activation_bytes,
    load_network,
    open_tokenizer,
    read_config,
)
from rerank.scorers.tokens import PairTokenizer, Vocabulary

if TYPE_CHECKING:
    import torch

    from rerank.runtimes.torch_packed import PackedRuntime
    from rerank.scorers.bert_body import FirstTokenVector


class HeadParts(NamedTuple):
    """Names of a head's two layers, and the function between them."""

    dense: str
    out: str
    between: Callable[[Values], Values] = tanh


_ROBERTA = HeadParts("classifier.dense", "classifier.out_proj")
HEADS = {
    "xlm-roberta": _ROBERTA,
    "roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "bert": HeadParts("bert.pooler.dense", "classifier"),
    "electra": HeadParts("classifier.dense", "classifier.out_proj", gelu),
    "distilbert": HeadParts("pre_classifier", "classifier", relu),
    "gte": HeadParts("gte.pooler.dense", "classifier"),
}
"""By model type."""


def encoder_network(checkpoint: Checkpoint, dtype: torch.dtype) -> FirstTokenVector:
    """The body. Raises WeightsBroken where a weight is missing."""
    from rerank.scorers.bert_body import FirstTokenVector

    kind, options = classifier_of(checkpoint)
    return FirstTokenVector(load_network(kind, checkpoint, dtype, **options).base_model)


def pair_segments(checkpoint: Checkpoint) -> BertSegments:
    """Pairs as segments whose first token is read."""
    return BertSegments(checkpoint, read=0)


@dataclass(frozen=True, slots=True)
class Head:
    """Two layers and the function between them, from a vector to a logit."""

    dense: Linear
    out: Linear
    between: Callable[[Values], Values]

    def __call__(self, vectors: Values) -> Values:
        """Vectors of shape (pairs, hidden) to logits of shape (pairs)."""
        return self.out(self.between(self.dense(vectors)))[:, 0]


def read_head(checkpoint: Checkpoint, card: ModelCard, device: str) -> Head:
    """The head's weights, read from the file: a missing head raises, and is never random."""
    parts = HEADS[checkpoint.config["model_type"]]
    port = checkpoint.evidence.port
    names = (port.stored(name) if port else name for name in (parts.dense, parts.out))
    dense, out = (read_linear(checkpoint, name) for name in names)
    one = Linear(*(score_of_labels(rows, card, checkpoint.config)[None] for rows in out))
    return Head(dense.on(device), one.on(device), parts.between)


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
