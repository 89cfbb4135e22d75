"""Texts normalised inside their tokenizer: each token still knows the characters that it was made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenizers import Regex, Tokenizer, normalizers

from rerank.errors import ModelUnsupported
from rerank.normalising import REPLACED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_NORMALISER = normalizers.Sequence(
    [normalizers.NFKC(), *(normalizers.Replace(Regex(f"[{found}]"), put) for put, found in REPLACED.items())]
)


def normalise(tokenizer: Tokenizer) -> Tokenizer:
    """Let the tokenizer normalise every text that it reads."""
    own = tokenizer.normalizer
    tokenizer.normalizer = normalizers.Sequence([_NORMALISER, own]) if own else _NORMALISER
    return tokenizer


def normalise_saved(tokenizer: PreTrainedTokenizerBase) -> None:
    """The same for one of transformers. Raises ModelUnsupported for one in Python."""
    if not tokenizer.is_fast:
        raise ModelUnsupported("its tokenizer is Python code, which `normalize` in its card does not reach.")
    normalise(tokenizer.backend_tokenizer)
