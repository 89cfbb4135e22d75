"""Scoring by the first word of an answer: the logit of one word less that of another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import PromptFormat, Word
from rerank.catalog.weight_files import shapes
from rerank.core import Pair, PendingLogits, ScoringOptions
from rerank.errors import ModelUnsupported
from rerank.runtimes.base import TokenIds, pending, placed
from rerank.runtimes.padding import pad
from rerank.scorers.base import Reading, ReadsInParts
from rerank.scorers.heads import product
from rerank.scorers.labels import activation_of
from rerank.scorers.pretrained import activation_bytes, open_tokenizer, read_config, read_tensor
from rerank.scorers.scored_words import direction, known_id, output_matrix
from rerank.scorers.tokens import PairTokenizer, Vocabulary

if TYPE_CHECKING:
    from rerank.runtimes.base import Runtime

_TABLES = ("shared.weight", "decoder.embed_tokens.weight", "encoder.embed_tokens.weight")
"""Names of the embeddings, which all have the same content."""


class FirstWordScorer(ReadsInParts):
    """A T5 that is asked in its prompt; texts are tokenised as in one, because none of its tokens crosses a space."""

    padded = True

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, max_length: int, card: ModelCard) -> None:
        # for mypy: `claims` saw it
        assert card.prompt is not None  # nosec B101
        self._prompt = _plain(card.prompt)
        self.max_length = max_length
        self.activation = activation_of(checkpoint, card, card.prompt.activation)
        self.runtime = f"{runtime.description}, padded"
        self.precision = runtime.precision
        self.bytes_per_token = activation_bytes(read_config(checkpoint))
        reading = partial(open_tokenizer, checkpoint.folder, normalises=card.normalises)
        tokenizer = reading()
        rows = direction(card.prompt, partial(_word_row, checkpoint, tokenizer))
        self._direction = placed(rows[None], runtime.device)
        self._network = runtime
        self._pad_id = int(checkpoint.config.get("pad_token_id", 0))
        asking = _asking(tokenizer, self._prompt.suffix)
        self._tokenizer = PairTokenizer(asking, rows=checkpoint.config["vocab_size"])
        self.tokenizer = Vocabulary(reading)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[TokenIds]]:
        """See ``Scorer.reading``. The instruction is ignored: these models take none."""
        asked = [Pair(self._prompt.ask("", pair.query), pair.document) for pair in pairs]
        return self._tokenizer.pairs(asked, options.truncation, self.max_length)

    def start(self, batch: Sequence[TokenIds]) -> PendingLogits:
        """See ``Scorer.start``."""
        vectors = self._network(pad(batch, self._pad_id, segments=False))[0]
        return pending(product(vectors, self._direction)[:, 0])


def start_token(checkpoint: Checkpoint) -> int:
    """The token that the decoder begins with: the one for padding, unless it says another."""
    config = checkpoint.config
    start = config.get("decoder_start_token_id")
    return int(config.get("pad_token_id", 0) if start is None else start)


def _plain(prompt: PromptFormat) -> PromptFormat:
    """The prompt. Raises ModelUnsupported for one that says more than query, document and what follows."""
    others = (prompt.system, prompt.between, prompt.tail, prompt.lead.strip(), prompt.instructed)
    if any(others) or prompt.document_first or prompt.special_start or prompt.strips or prompt.takes_instruction:
        raise ModelUnsupported(
            "the prompt in its card is one of language models; a sequence-to-sequence model has only `request`, "
            '`suffix` and `lead = " "`, as in `prompt = "monot5"`.'
        )
    return prompt


def _asking(tokenizer: Tokenizer, suffix: str) -> Tokenizer:
    """The tokenizer with what ends a prompt behind each pair: the suffix, and the token that ends every text."""
    letter = tokenizer.encode("a", add_special_tokens=False)
    ends = tokenizer.post_process(letter).ids[len(letter.ids) :]
    words = tokenizer.encode(suffix.strip(), add_special_tokens=False).ids
    if len(ends) != 1:
        raise ModelUnsupported("its tokenizer ends a text with other than one token, which T5's does not.")
    names = {"id": "end", "ids": [*words, *ends], "tokens": [tokenizer.id_to_token(token) for token in [*words, *ends]]}
    tokenizer.post_processor = TemplateProcessing(single="$A end", pair="$A $B end", special_tokens=[names])
    return tokenizer


def _word_row(checkpoint: Checkpoint, tokenizer: Tokenizer, word: Word) -> numpy.ndarray:
    """The row of the output matrix that gives a word's logit, as T5 scales it. Raises WeightsBroken."""
    config = checkpoint.config
    row = known_id(tokenizer, word, config["vocab_size"])
    tied = config.get("tie_word_embeddings", config["model_type"] == "t5")
    stored = shapes(checkpoint.weight_files)
    table = next((name for name in _TABLES if name in stored), _TABLES[0])
    values = read_tensor(checkpoint, output_matrix(checkpoint, table, tied=tied), row=row)
    # the configuration decides, also where the matrix is one of its own
    return values * numpy.float32(config["d_model"] ** -0.5) if tied else values
