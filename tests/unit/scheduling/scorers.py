"""Scorers whose answers and moments a test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

WAIT = 10.0
"""Seconds after which something that should have happened has not."""


@dataclass(frozen=True)
class Piece:
    """An encoded pair that knows the logit it is to get."""

    tokens: int = 1
    logit: float = 0.0


class Echo:
    """Gives every piece the logit it carries."""

    def score(self, batch: Sequence[Any]) -> list[float]:
        return [piece.logit for piece in batch]


class Gate(Echo):
    """Holds every batch until ``open`` is called; notes how large each was."""

    def __init__(self) -> None:
        self.passes: list[int] = []
        self.entered = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def score(self, batch: Sequence[Any]) -> list[float]:
        self.passes.append(len(batch))
        self.entered.set()
        if not self._open.wait(WAIT):
            raise TimeoutError("nobody opened the gate")
        return super().score(batch)


class Answering:
    """Answers with whatever a function makes of the batch."""

    def __init__(self, answer: Callable[[Sequence[Any]], list[float]]) -> None:
        self.score = answer


def pieces(count: int, tokens: int = 1) -> list[Piece]:
    """Pieces whose logits are 0, 1, 2, ..."""
    return [Piece(tokens, float(place)) for place in range(count)]


def answer(future: Future[list[float]]) -> list[float]:
    """The result of a job, or its error."""
    return future.result(WAIT)
