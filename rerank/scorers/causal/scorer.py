"""Scoring by a causal language model: the logits of its answer to whether the document fits the query.

Everything before the document is the same for all documents of a request, so its keys and values are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rerank.activations import SIGMOID
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import PromptFormat
from rerank.core import Pair, PendingLogits, ScoringOptions
from rerank.errors import WeightsBroken
from rerank.runtimes.base import pending
from rerank.scorers.base import Reading, ReadsInParts
from rerank.scorers.causal.body import LastTokenVector
from rerank.scorers.causal.prompt import Prompt, PromptTokenizer
from rerank.scorers.causal.vectors import PackedPrompts, RectanglePrompts
from rerank.scorers.pretrained import (
    activation_bytes,
    load_network,
    open_tokenizer,
    read_config,
    read_json,
    read_tensor,
    refuse_other_labels,
)
from rerank.scorers.saved_modules import default_prompt
from rerank.scorers.tokens import Vocabulary

CONVERTED = "Qwen3ForSequenceClassification"
"""The architecture of checkpoints converted to a classifier, whose head is the direction."""


class CausalScorer(ReadsInParts):
    """A Qwen3 whose last hidden state is compared with the scored words only; the vocabulary is never multiplied."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        card: ModelCard,
        prompt_format: PromptFormat,
        prompts: PromptTokenizer,
        vectors: RectanglePrompts | PackedPrompts,
    ) -> None:
        self._instruction = card.instruction or default_prompt(checkpoint.folder) or prompt_format.instruction
        self.max_length = prompts.max_length
        self.activation = card.activation or SIGMOID
        self.takes_instruction = prompt_format.takes_instruction
        self.runtime = f"{vectors.description}, shared prefix"
        self.precision = vectors.runtime.precision
        self.padded = vectors.padded
        self.bytes_per_token = activation_bytes(read_config(checkpoint))
        self._prompts = prompts
        # the prompts' tokenizer does not read special tokens in texts; this one does, and is seldom used
        self.tokenizer = Vocabulary(partial(open_tokenizer, checkpoint.folder))
        self._vectors = vectors
        self._direction = score_direction(checkpoint, prompt_format).to(vectors.runtime.device)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Prompt]]:
        """See ``Scorer.reading``."""
        return self._prompts.reading(pairs, options.truncation, options.instruction or self._instruction)

    @torch.inference_mode()
    def start(self, batch: Sequence[Prompt]) -> PendingLogits:
        """See ``Scorer.start``. Prompts of one request share their prefix."""
        return pending(self._vectors(batch) @ self._direction)


def causal_network(checkpoint: Checkpoint, dtype: torch.dtype) -> LastTokenVector:
    """The body. Raises WeightsBroken where a weight is missing."""
    kind = AutoModelForSequenceClassification if checkpoint.architecture == CONVERTED else AutoModelForCausalLM
    return LastTokenVector(load_network(kind, checkpoint, dtype).model)


def score_direction(checkpoint: Checkpoint, prompt_format: PromptFormat) -> torch.Tensor:
    """The vector that hidden states are multiplied with: fp32, of shape (hidden). Raises WeightsBroken."""
    if checkpoint.architecture == CONVERTED:
        rows = read_tensor(checkpoint, "score.weight")
        refuse_other_labels(rows.shape[0])
        return rows[0]
    yes = _word_row(checkpoint, prompt_format.yes)
    return yes - _word_row(checkpoint, prompt_format.no) if prompt_format.no else yes


def _word_row(checkpoint: Checkpoint, word: str) -> torch.Tensor:
    """The row of the output matrix that gives a word's logit."""
    row = open_tokenizer(checkpoint.folder).token_to_id(word)
    if row is None:
        raise WeightsBroken(f"the tokenizer does not know the word {word}, whose logit is the score")
    tied = read_json(checkpoint.folder / "config.json").get("tie_word_embeddings", False)
    return read_tensor(checkpoint, "model.embed_tokens.weight" if tied else "lm_head.weight", row=row)
