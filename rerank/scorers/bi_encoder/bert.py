"""Embedding models of the BERT kind, run through the bodies of ``bert_body``: bge-m3, e5, all-MiniLM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import TokenIds, Values
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.scorers.bert_kinds import BODIES, BertSegments
from rerank.scorers.bi_encoder.scorer import SentenceReading, VectorSize, dimensions_allowed
from rerank.scorers.libraries import import_transformers
from rerank.scorers.ports import config_of
from rerank.scorers.pretrained import has_tokenizer, load_network, open_tokenizer, read_config, read_json
from rerank.scorers.saved_modules import SavedModules, default_prompt_name, pooling_mode, saved_modules, saved_prompts
from rerank.scorers.tokens import PairTokenizer

if TYPE_CHECKING:
    import torch

    from rerank.runtimes.torch_packed import PackedRuntime
    from rerank.scorers.bert_body import FirstTokenVector, MeanVector


@dataclass(frozen=True, slots=True)
class BertEmbedding:
    """An embedding model that a body of ``bert_body`` runs, as its folder describes it."""

    checkpoint: Checkpoint
    mean: bool
    """True if its vector is the mean of all tokens', False if it is the first token's."""
    normalised: bool
    """True if its own modules make vectors of length 1."""

    @property
    def segments(self) -> BertSegments:
        """Its texts as segments."""
        return BertSegments(self.checkpoint, read=None if self.mean else 0)

    def network(self, dtype: torch.dtype) -> FirstTokenVector | MeanVector:
        """The body. Raises WeightsBroken where a weight is missing."""
        from rerank.scorers.bert_body import FirstTokenVector, MeanVector

        options = config_of(self.checkpoint)
        body = load_network(import_transformers().AutoModel, self.checkpoint, dtype, unused="pooler.", **options)
        return MeanVector(body) if self.mean else FirstTokenVector(body)

    @property
    def reading(self) -> SentenceReading:
        """How it reads texts."""
        folder = self.checkpoint.folder
        return SentenceReading(
            PairTokenizer(open_tokenizer(folder)), saved_prompts(folder), default_prompt_name(folder)
        )

    def vector_size(self, card: ModelCard) -> VectorSize:
        """The dimensions and the length of its vectors."""
        size = int(read_config(self.checkpoint).hidden_size)
        return VectorSize(dimensions_allowed(self.checkpoint.config, size, card), self.normalised)


def bert_embedding(checkpoint: Checkpoint) -> BertEmbedding | None:
    """The model, if ``bert_body`` runs it; None if it needs more than a body, pooling and a normalised vector."""
    folder = checkpoint.folder
    saved = saved_modules(folder)
    if saved is None or not _is_plain(checkpoint, saved):
        return None
    pooling = read_json(folder / saved.folders[1] / "config.json")
    mode = pooling_mode(pooling)
    if mode not in ("mean", "cls") or not pooling.get("include_prompt", True):
        return None
    return BertEmbedding(checkpoint, mean=mode == "mean", normalised="Normalize" in saved.kinds)


def _is_plain(checkpoint: Checkpoint, saved: SavedModules) -> bool:
    return (
        saved.kinds[1:] in (("Pooling",), ("Pooling", "Normalize"))
        and saved.is_plain("feature-extraction")
        and checkpoint.config.get("model_type") in BODIES
        and has_tokenizer(checkpoint.folder)
    )


class BertSentences:
    """Vectors of a model of the BERT kind, from sequences end to end."""

    def __init__(self, segments: BertSegments, runtime: RectangleRuntime | PackedRuntime) -> None:
        self.padded = runtime.padded
        self.device = runtime.device
        self.precision = runtime.precision
        self.description = runtime.description
        self._segment = segments
        self._runtime = runtime

    def __call__(self, sequences: Sequence[TokenIds]) -> Values:
        """See ``SentenceVectors``."""
        return self._runtime([self._segment(sequence) for sequence in sequences])
