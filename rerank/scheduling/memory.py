"""Memory of a device, and limits of batches that are learnt from those that ran."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from rerank.scheduling.job import ScoresBatches

_LATELY_SECONDS = 0.5
_WEIGHT = 0.2


def _is_memory_error(error: Exception) -> bool:
    return isinstance(error, MemoryError)


def _collect() -> None:
    gc.collect()


class Lately:
    """What a function gave within the last half second: the container's memory takes a millisecond to read."""

    def __init__(self, read: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._given: tuple[float, int] | None = None

    def __call__(self) -> int:
        now = self._clock()
        if self._given is None or now - self._given[0] > _LATELY_SECONDS:
            self._given = now, self._read()
        return self._given[1]


@dataclass(frozen=True, slots=True)
class Memory:
    """Callbacks about a device's memory."""

    free: Callable[[], int] | None = None
    """Free bytes, read before each batch; None for no limit."""
    is_exhausted: Callable[[Exception], bool] = _is_memory_error
    """True for an error that means: the device's memory ran out."""
    make_room: Callable[[], None] = _collect
    """Frees what can be freed: caches, idle models."""


class LearntLimits:
    """Tokens per batch of models: at most, where a batch ran out of memory, and as many as a short time allows."""

    def __init__(self, quick_seconds: float = 0) -> None:
        self._tokens: WeakKeyDictionary[ScoresBatches, int] = WeakKeyDictionary()
        self._quick_seconds = quick_seconds
        self._token_seconds: WeakKeyDictionary[ScoresBatches, float] = WeakKeyDictionary()

    def quick_tokens(self, scorer: ScoresBatches) -> int:
        """Tokens that a model computes in a short time; 0 while that is not known."""
        seconds = self._token_seconds.get(scorer)
        return int(self._quick_seconds / seconds) if seconds else 0

    def tokens_in(self, scorer: ScoresBatches, seconds: float) -> int | None:
        """Tokens that a model computes in this time; None while that is not known."""
        token_seconds = self._token_seconds.get(scorer)
        # endless time would be more tokens than a number can hold
        return max(0, int(min(seconds / token_seconds, sys.maxsize))) if token_seconds else None

    def note(self, scorer: ScoresBatches, tokens: int, seconds: float) -> None:
        """A batch of ``tokens`` took so long. The latest batches count most."""
        now = seconds / max(1, tokens)
        before = self._token_seconds.get(scorer, now)
        self._token_seconds[scorer] = before + _WEIGHT * (now - before)

    def of(self, scorer: ScoresBatches) -> int | None:
        """Maximum tokens per batch of a model; None if it never ran out."""
        return self._tokens.get(scorer)

    def learn(self, scorer: ScoresBatches, tokens: int) -> int:
        """Halve the limit: a batch of ``tokens`` was too large. The new limit."""
        limit = max(1, tokens // 2)
        self._tokens[scorer] = min(limit, self._tokens.get(scorer, limit))
        return self._tokens[scorer]
