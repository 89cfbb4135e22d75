"""The words whose logits are the score of a model that is asked in a prompt."""

from __future__ import annotations

from collections.abc import Callable

import numpy
from tokenizers import Tokenizer

from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import PromptFormat, Word
from rerank.catalog.weight_files import shapes
from rerank.errors import ModelUnsupported

_OUTPUT = "lm_head.weight"


def token_id(tokenizer: Tokenizer, word: Word) -> int | None:
    """The number of a word; None for one that the vocabulary does not have."""
    found: int | None = word if isinstance(word, int) else tokenizer.token_to_id(word)
    return found


def known_id(tokenizer: Tokenizer, word: Word, rows: int) -> int:
    """The number of a word, which is a row of the output matrix. Raises ModelUnsupported if it has no such row."""
    row = token_id(tokenizer, word)
    if row is None or row >= rows:
        raise ModelUnsupported(f"its tokenizer does not know the word {word}, whose logit is the score.")
    return row


def output_matrix(checkpoint: Checkpoint, embeddings: str, *, tied: bool) -> str:
    """Name of the weight whose rows give logits: ``embeddings`` if they are tied and no trained matrix is saved."""
    is_own = not tied or _OUTPUT in shapes(checkpoint.weight_files)
    return _OUTPUT if is_own else embeddings


def direction(prompt: PromptFormat, row_of: Callable[[Word], numpy.ndarray]) -> numpy.ndarray:
    """What hidden states are multiplied with: the row of the word for yes, less that of the one for no, if any."""
    return row_of(prompt.yes) if prompt.no == "" else row_of(prompt.yes) - row_of(prompt.no)
