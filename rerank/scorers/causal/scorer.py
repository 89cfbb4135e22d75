"""Scoring by a language model: the logits of its answer to whether the document fits the query, or a head's.

Where the query stands first, everything before the document is the same for all documents of a request, so its keys and
values are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy

from rerank.activations import SIGMOID, Activation
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import PromptFormat, Word
from rerank.core import Pair, PendingLogits, ScoringOptions
from rerank.runtimes.base import pending, placed
from rerank.scorers.base import Reading, ReadsInParts
from rerank.scorers.causal.configuration import has_head, head_temperature, is_bidirectional
from rerank.scorers.causal.prompt import Prompt, PromptTokenizer
from rerank.scorers.causal.vectors import PackedPrompts, RectanglePrompts, WholePrompts
from rerank.scorers.heads import product
from rerank.scorers.labels import activation_of, score_of_labels
from rerank.scorers.pretrained import (
    Config,
    activation_bytes,
    open_tokenizer,
    read_tensor,
)
from rerank.scorers.saved_modules import default_prompt
from rerank.scorers.scored_words import direction, known_id, output_matrix
from rerank.scorers.tokens import Vocabulary


class CausalScorer(ReadsInParts):
    """A language model whose last hidden state is compared with the scored words only.

    The vocabulary is never multiplied.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: Config,
        card: ModelCard,
        prompt_format: PromptFormat,
        prompts: PromptTokenizer,
        vectors: RectanglePrompts | PackedPrompts | WholePrompts,
    ) -> None:
        self._instruction = card.instruction or default_prompt(checkpoint.folder) or prompt_format.instruction
        self.max_length = prompts.max_length
        self.activation = activation_of(checkpoint, card, _default_activation(checkpoint, prompt_format))
        self.takes_instruction = prompt_format.takes_instruction
        self.runtime = vectors.description
        self.precision = vectors.runtime.precision
        self.padded = vectors.padded
        self.bytes_per_token = activation_bytes(config)
        self._prompts = prompts
        # the prompts' tokenizer does not read special tokens in texts; this one does, and is seldom used
        self.tokenizer = Vocabulary(partial(open_tokenizer, checkpoint.folder, normalises=card.normalises))
        self._vectors = vectors
        direction = score_direction(checkpoint, config, card, prompt_format)
        self._direction = placed(direction[None], vectors.runtime.device)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Prompt]]:
        """See ``Scorer.reading``."""
        instruction = options.instruction or self._instruction
        return self._prompts.reading(pairs, options.truncation, instruction, keeps_prefix=self._vectors.keeps_prefix)

    def start(self, batch: Sequence[Prompt]) -> PendingLogits:
        """See ``Scorer.start``. Prompts of one request share their prefix."""
        return pending(product(self._vectors(batch), self._direction)[:, 0])


def _default_activation(checkpoint: Checkpoint, prompt_format: PromptFormat) -> Activation:
    """The prompt's own, but for a classifier made of another model: it is scaled, if at all, by its head."""
    converted = has_head(checkpoint) and not is_bidirectional(checkpoint)
    return SIGMOID if converted else prompt_format.activation


def score_direction(
    checkpoint: Checkpoint, config: Config, card: ModelCard, prompt_format: PromptFormat
) -> numpy.ndarray:
    """The vector that hidden states are multiplied with: fp32, of shape (hidden). Raises WeightsBroken."""
    if has_head(checkpoint):
        row = score_of_labels(read_tensor(checkpoint, "score.weight"), card, checkpoint.config)
        scaled: numpy.ndarray = row / numpy.float32(head_temperature(checkpoint))
        return scaled
    return direction(prompt_format, partial(_word_row, checkpoint, config))


def _word_row(checkpoint: Checkpoint, config: Config, word: Word) -> numpy.ndarray:
    """The row of the output matrix that gives a word's logit."""
    row = known_id(open_tokenizer(checkpoint.folder), word, config.vocab_size)
    name = output_matrix(checkpoint, "model.embed_tokens.weight", tied=config.tie_word_embeddings)
    return read_tensor(checkpoint, name, row=row)
