"""Cross-encoders of the BERT kind: one sequence per pair, one vector of it, a small head.

BERT (ms-marco), XLM-RoBERTa (bge-reranker-base, -large, -v2-m3), ModernBERT (Ettin) and their relatives. The body runs
in the precision of the device, the head always in fp32, because half precision would tie the best documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rerank.catalog.cards import ModelCard
from rerank.core import Pair, PendingLogits, ScoringOptions
from rerank.runtimes.base import TokenIds, pending
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.scorers.base import Reading, ReadsInParts
from rerank.scorers.bert_cross_encoder.models import PairModel
from rerank.scorers.labels import activation_of
from rerank.scorers.pretrained import open_tokenizer, read_config
from rerank.scorers.tokens import PairTokenizer, Vocabulary

if TYPE_CHECKING:
    from rerank.runtimes.torch_packed import PackedRuntime


class EncoderScorer(ReadsInParts):
    """Pairs as the checkpoint's tokenizer lays them out, scored by body and head."""

    def __init__(
        self,
        model: PairModel,
        runtime: RectangleRuntime | PackedRuntime,
        max_length: int,
        card: ModelCard,
    ) -> None:
        checkpoint = model.checkpoint
        self.max_length = max_length
        self.activation = activation_of(checkpoint, card)
        self.runtime = runtime.description
        self.precision = runtime.precision
        self.padded = runtime.padded
        self.bytes_per_token = model.body.bytes_per_token(checkpoint, max_length)
        self._vectors = runtime
        self._segment = model.segments
        self._head = model.head(card, runtime.device)
        tokenizer = open_tokenizer(checkpoint.folder, normalises=card.normalises)
        self._tokenizer = PairTokenizer(tokenizer, rows=read_config(checkpoint).vocab_size)
        self.tokenizer = Vocabulary(lambda: self._tokenizer.tokenizer)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[TokenIds]]:
        """See ``Scorer.reading``. The instruction is ignored: these models take none."""
        return self._tokenizer.pairs(pairs, options.truncation, self.max_length)

    def start(self, batch: Sequence[TokenIds]) -> PendingLogits:
        """See ``Scorer.start``."""
        return pending(self._head(self._vectors([self._segment(pair) for pair in batch])))
