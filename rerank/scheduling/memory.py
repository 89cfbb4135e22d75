"""What the memory of a device allows, and what was learnt when it ran out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from rerank.scheduling.job import ScoresBatches


def _is_memory_error(error: Exception) -> bool:
    return isinstance(error, MemoryError)


def _collect() -> None:
    gc.collect()


@dataclass(frozen=True, slots=True)
class Memory:
    """How to ask about a device's memory."""

    free: Callable[[], int] | None = None
    """Bytes that a batch could take now, asked before each batch; None leaves memory out of account."""
    is_exhausted: Callable[[Exception], bool] = _is_memory_error
    """True for an error that says the device's memory ran out."""
    make_room: Callable[[], None] = _collect
    """Gives back what can be given back: caches, models that nobody uses."""


class LearntLimits:
    """Tokens a batch may have, by model, since a larger one ran out of memory."""

    def __init__(self) -> None:
        self._tokens: WeakKeyDictionary[ScoresBatches, int] = WeakKeyDictionary()

    def of(self, scorer: ScoresBatches) -> int | None:
        """Tokens a batch of this model may have; None if it never ran out."""
        return self._tokens.get(scorer)

    def learn(self, scorer: ScoresBatches, tokens: int) -> int:
        """A batch of so many tokens was too large: half of it is the limit from now on."""
        limit = max(1, tokens // 2)
        self._tokens[scorer] = min(limit, self._tokens.get(scorer, limit))
        return self._tokens[scorer]
