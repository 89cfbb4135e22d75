"""Scorers whose answers and moments a test decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from rerank.core import Finished, PendingLogits
from rerank.scheduling.job import Job

WAIT = 10.0
"""Seconds after which something that should have happened has not."""


@dataclass(frozen=True)
class Piece:
    """An encoded pair that knows the logit it is to get."""

    tokens: int = 1
    logit: float = 0.0

    @property
    def computed(self) -> int:
        return self.tokens


class Echo:
    """Gives every piece the logit it carries, at once."""

    def __init__(self, *, padded: bool = True, bytes_per_token: int = 0) -> None:
        self.padded = padded
        self.bytes_per_token = bytes_per_token

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        return Finished([piece.logit for piece in batch])


class Gate(Echo):
    """Holds every batch until ``open`` is called; notes how large each was."""

    def __init__(self) -> None:
        super().__init__()
        self.passes: list[int] = []
        self.entered = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        self.passes.append(len(batch))
        self.entered.set()
        if not self._open.wait(WAIT):
            raise TimeoutError("nobody opened the gate")
        return super().start(batch)


class Answering(Echo):
    """Answers with whatever a function makes of the batch."""

    def __init__(self, answer: Callable[[Sequence[Any]], list[float]]) -> None:
        super().__init__()
        self._answer = answer

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        return Finished(self._answer(batch))


class OnDevice:
    """A batch that runs by itself until the test ends it."""

    def __init__(self, batch: Sequence[Any]) -> None:
        self.batch = batch
        self.asked = threading.Event()
        """Set once somebody waits for the result."""
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def end(self, error: BaseException | None = None) -> None:
        self._error = error
        self._ended.set()

    @property
    def done(self) -> bool:
        return self._ended.is_set()

    def result(self) -> list[float]:
        self.asked.set()
        if not self._ended.wait(WAIT):
            raise TimeoutError("nobody ended the batch")
        if self._error:
            raise self._error
        return [piece.logit for piece in self.batch]


class Kernels(Echo):
    """As a GPU: a batch is started at once, and ends when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[OnDevice] = []
        self._changed = threading.Condition()

    def start(self, batch: Sequence[Any]) -> PendingLogits:
        running = OnDevice(batch)
        with self._changed:
            self.started.append(running)
            self._changed.notify_all()
        return running

    def wait_for(self, count: int) -> list[OnDevice]:
        """The batches started, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.started) >= count, WAIT)
        return self.started


def pieces(count: int, tokens: int = 1) -> list[Piece]:
    """Pieces whose logits are 0, 1, 2, ..."""
    return [Piece(tokens, float(place)) for place in range(count)]


def job_of(lengths: Sequence[int], scorer: Echo | None = None, until: float | None = None) -> Job:
    """A whole job of pieces of these lengths, whose logits are 0, 1, 2, ..."""
    job = Job((scorer or Echo(),), [Piece(tokens, float(place)) for place, tokens in enumerate(lengths)], "", until)
    job.complete()
    return job


def answer(future: Future[list[float]]) -> list[float]:
    """The result of a job, or its error."""
    return future.result(WAIT)
