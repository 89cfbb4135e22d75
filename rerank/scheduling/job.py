"""The waiting pairs of one request. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from rerank.core import Running


class HasTokens(Protocol):
    """An encoded pair, of which scheduling needs only its length."""

    @property
    def tokens(self) -> int:
        """Tokens the model reads."""
        ...

    @property
    def computed(self) -> int:
        """Tokens it costs a device: of those it shares with other pairs of its request, its part."""
        ...


class ScoresBatches(Protocol):
    """A model on one device: whatever turns a batch of encoded pairs into raw logits."""

    @property
    def padded(self) -> bool:
        """True where pairs cost more beside a longer one, be it in attention only; False where each costs its own."""
        ...

    @property
    def bytes_per_token(self) -> int:
        """Device memory that a token of a batch takes while it runs; 0 if that is of no account."""
        ...

    def start(self, batch: Sequence[Any]) -> Running:
        """Put a batch on the device."""
        ...


Replicas = tuple[ScoresBatches, ...]
"""The same model on each device, in the order of the devices."""


class Job:
    """The pairs of one request, waiting for one model. Ends exactly once, through its future.

    The future ends with every pair's logit in request order, with an error, or cancelled by a caller that left.
    """

    def __init__(self, replicas: Replicas, pairs: Sequence[HasTokens], caller: str = "") -> None:
        self.replicas = replicas
        self.caller = caller
        """Whose request it is; callers take turns."""
        self.future: Future[list[float]] = Future()
        self.waiting_tokens = sum(pair.computed for pair in pairs)
        """What the pairs cost that no batch has taken yet, in tokens."""
        self.turn = 0.0
        """When it is its turn among its caller's jobs, lowest first; noted by the line."""
        self.submitted = 0.0
        """When it was put in line, by ``time.perf_counter``; noted by the scheduler, as is the next."""
        self.begun: float | None = None
        """When the first of its pairs was taken."""
        self._pairs = pairs
        self._lengths = [pair.computed for pair in pairs]
        # longest first, so that neighbours are of like length and leave little padding
        self._waiting = sorted(range(len(pairs)), key=self._lengths.__getitem__, reverse=True)
        self._logits: dict[int, float] = {}
        if not pairs:
            self.future.set_result([])

    @property
    def waiting(self) -> int:
        """Pairs no batch has taken yet; none once the job has ended, however it did."""
        return 0 if self.future.done() else len(self._waiting)

    @property
    def taken(self) -> bool:
        """True once batches have taken all of its pairs."""
        return not self._waiting

    @property
    def longest(self) -> int:
        """Length of the longest waiting pair."""
        return self._lengths[self._waiting[0]]

    def first_within(self, tokens: int) -> int:
        """Where in line its longest pair of at most ``tokens`` stands; the length of the line if there is none."""
        return bisect_left(self._waiting, -tokens, key=lambda place: -self._lengths[place])

    def fitting(self, start: int, pairs: int, tokens: int) -> int:
        """How many of its pairs, from ``start`` on, are together within ``pairs`` and ``tokens``."""
        count = 0
        for place in self._waiting[start : start + pairs]:
            tokens -= self._lengths[place]
            if tokens < 0:
                break
            count += 1
        return count

    def take(self, start: int, count: int) -> list[Slot]:
        """Hand out ``count`` waiting pairs, from the one that stands at ``start`` on."""
        taken = [Slot(self, place, self._pairs[place]) for place in self._waiting[start : start + count]]
        del self._waiting[start : start + count]
        self.waiting_tokens -= sum(slot.pair.computed for slot in taken)
        return taken

    def resolve(self, place: int, logit: float) -> None:
        """Note a pair's logit; the last one ends the job."""
        self._logits[place] = logit
        if len(self._logits) == len(self._pairs):
            # a caller may leave, or another device's thread end the job, between the last pair and this line
            with suppress(InvalidStateError):
                self.future.set_result([self._logits[index] for index in range(len(self._pairs))])

    def fail(self, error: Exception) -> None:
        """End the job with an error, unless it has ended."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Slot(NamedTuple):
    """One pair in a batch, and the job it belongs to."""

    job: Job
    place: int
    pair: HasTokens
