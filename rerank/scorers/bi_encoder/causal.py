"""Embedding models that are language models, run through their bodies: Qwen3-Embedding, e5-mistral."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import TokenIds, Values
from rerank.runtimes.ids import Ids
from rerank.scorers.base import Placement
from rerank.scorers.bi_encoder.bert import is_plain, plain_vector_size
from rerank.scorers.bi_encoder.scorer import VectorSize
from rerank.scorers.causal.configuration import body_config
from rerank.scorers.causal.family import open_prompts
from rerank.scorers.causal.prompt import Prompt
from rerank.scorers.causal.vectors import PackedPrompts, RectanglePrompts
from rerank.scorers.pretrained import Config, activation_bytes, open_tokenizer
from rerank.scorers.saved_modules import saved_modules, vector_of_tokens

_HEADS = ("ForCausalLM", "Model")


@dataclass(frozen=True, slots=True)
class CausalEmbedding:
    """A language model whose vector is that of a text's last token."""

    checkpoint: Checkpoint
    config: Config
    normalised: bool
    """True if its own modules make vectors of length 1."""

    def bytes_per_token(self, _length: int) -> int:
        """Approximate device memory per token of a running batch."""
        return activation_bytes(self.config)

    def vector_size(self, card: ModelCard) -> VectorSize:
        """The dimensions and the length of its vectors."""
        return plain_vector_size(self.checkpoint, card, normalised=self.normalised)

    def sentences(self, placement: Placement) -> CausalSentences:
        """The body on the device."""
        return CausalSentences(open_prompts(self.checkpoint, self.config, placement, system=Ids()))


def causal_embedding(checkpoint: Checkpoint) -> CausalEmbedding | None:
    """The model, if a body computes it; None if it needs more than a body and the last token's vector."""
    saved, config = saved_modules(checkpoint.folder), body_config(checkpoint, _HEADS)
    if saved is None or config is None or not is_plain(checkpoint, saved):
        return None
    if vector_of_tokens(checkpoint.folder, saved) != "lasttoken" or not _ends_texts(checkpoint):
        return None
    return CausalEmbedding(checkpoint, config, normalised=saved.normalises)


def _ends_texts(checkpoint: Checkpoint) -> bool:
    """True if every text has a last token, because the tokenizer puts one there; an empty text would have none."""
    return bool(open_tokenizer(checkpoint.folder).encode("").ids)


class CausalSentences:
    """Vectors of the last tokens of sequences, which share nothing."""

    def __init__(self, prompts: RectanglePrompts | PackedPrompts) -> None:
        self.padded = prompts.padded
        self.device = prompts.runtime.device
        self.precision = prompts.runtime.precision
        self.description = prompts.runtime.description
        self._prompts = prompts

    def __call__(self, sequences: Sequence[TokenIds]) -> Values:
        """See ``SentenceVectors``."""
        return self._prompts([Prompt(Ids(), sequence.input_ids) for sequence in sequences])
