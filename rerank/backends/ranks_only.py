"""Backends of models that rank and can do nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from rerank.catalog.cards import ModelCard
from rerank.catalog.families import FAMILIES
from rerank.core import Embedding, EmbeddingOptions, TextTokenizer
from rerank.errors import WrongTask

T = TypeVar("T")


class RanksOnly:
    """The rest of a ``Backend`` for a model that gives no vectors, has no tokenizer here, and holds no memory."""

    gives_vectors = False

    def __init__(self, card: ModelCard, family: str) -> None:
        self._card = card
        self._noun = FAMILIES[family].noun

    async def embed(self, texts: Sequence[str], options: EmbeddingOptions, *, caller: str = "") -> list[Embedding]:
        """See ``Backend.embed``."""
        del texts, options, caller
        raise WrongTask("embed", self._card.id, self._noun)

    async def use_tokenizer(self, use: Callable[[TextTokenizer], T], *, caller: str = "") -> T:
        """See ``Backend.use_tokenizer``."""
        del use, caller
        raise WrongTask("tokenize", self._card.id, self._noun)

    def close(self) -> None:
        """See ``Backend.close``. There is nothing to free."""
