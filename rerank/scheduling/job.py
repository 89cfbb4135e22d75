"""A job: the pairs, or texts, of one request. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import takewhile
from typing import Any, NamedTuple, Protocol

from rerank.core import Pending


class HasTokens(Protocol):
    """An encoded pair; scheduling needs only its length."""

    @property
    def tokens(self) -> int:
        """Tokens the model reads."""
        ...

    @property
    def computed(self) -> int:
        """Tokens it costs a device; of tokens shared with other pairs of the request, its part."""
        ...


class ScoresBatches(Protocol):
    """A model on one device: a batch of encoded pairs, or texts, to a result for each."""

    @property
    def padded(self) -> bool:
        """True if a longer pair in the batch makes the others cost more, even if only in attention."""
        ...

    @property
    def bytes_per_token(self) -> int:
        """Device memory per token of a running batch; 0 for no limit."""
        ...

    def start(self, batch: Sequence[Any]) -> Pending[Any]:
        """Put a batch on the device."""
        ...


Replicas = tuple[ScoresBatches, ...]
"""The same model on each device, in the order of the devices."""


class Job:
    """The pairs of one request for one model. Ends exactly once, through its future.

    The future ends with every pair's result in request order, with an error, or cancelled because the client
    disconnected.
    """

    def __init__(
        self, replicas: Replicas, pairs: Sequence[HasTokens], caller: str = "", until: float | None = None
    ) -> None:
        """With ``until``, pairs are taken in request order, and more may follow until ``complete`` is called."""
        self.replicas = replicas
        self.caller = caller
        """Name of the request's caller; callers take turns."""
        self.until = until
        """The moment after which no pair is begun; None for a job that has time."""
        self.future: Future[list[Any]] = Future()
        self.waiting_tokens = sum(pair.computed for pair in pairs)
        """Tokens of the pairs not yet in a batch."""
        self.turn = 0.0
        """The share of the device at which equal sharing would end it; set by the queue."""
        self.submitted = 0.0
        """When it was queued, by ``time.perf_counter``; set by the scheduler, as is the next."""
        self.begun: float | None = None
        """When its first pair went into a batch."""
        self._pairs = list(pairs)
        self._lengths = [pair.computed for pair in pairs]
        self._waiting = list(range(len(pairs)))
        if not self.ordered:
            # longest first: neighbours have similar lengths and need little padding
            self._waiting.sort(key=self._lengths.__getitem__, reverse=True)
        self._results: dict[int, Any] = {}
        self._complete = not self.ordered
        self._end_with_the_last()

    @property
    def ordered(self) -> bool:
        """True if pairs are taken in request order, False for the longest first."""
        return self.until is not None

    @property
    def waiting(self) -> int:
        """Pairs not yet in a batch; 0 once the job has ended."""
        return 0 if self.future.done() else len(self._waiting)

    @property
    def taken(self) -> bool:
        """True once all pairs have gone into batches."""
        return not self._waiting

    @property
    def begins_at(self) -> float:
        """The share of the device at which equal sharing would begin the first waiting pair."""
        return self.turn - self.waiting_tokens

    @property
    def order(self) -> float:
        """Its order within its caller's jobs, lowest first; only while a pair waits.

        In request order every pair counts as soon as it is scored, so each is due when equal sharing would end it.
        """
        return self.begins_at + next(self.lengths) if self.ordered else self.turn

    @property
    def lengths(self) -> Iterator[int]:
        """Lengths of the waiting pairs, in the order in which they are taken."""
        return map(self._lengths.__getitem__, self._waiting)

    def first_within(self, tokens: int) -> int:
        """Place of the first waiting pair of at most ``tokens`` that may be taken; the number of those waiting if none.

        In request order only the first may be taken.
        """
        if self.ordered:
            return 0 if next(self.lengths) <= tokens else len(self._waiting)
        return bisect_left(self._waiting, -tokens, key=lambda place: -self._lengths[place])

    def alike(self, start: int, shortest: int, longest: int) -> int:
        """Number of pairs, from ``start`` on, that have between ``shortest`` and ``longest`` tokens."""
        if self.ordered:
            return sum(1 for _ in takewhile(lambda tokens: shortest <= tokens <= longest, self.lengths))
        return self.first_within(shortest - 1) - start

    def fitting(self, start: int, pairs: int, tokens: int) -> int:
        """Number of pairs, from ``start`` on, that fit together into ``pairs`` and ``tokens``."""
        count = 0
        for place in self._waiting[start : start + pairs]:
            tokens -= self._lengths[place]
            if tokens < 0:
                break
            count += 1
        return count

    def take(self, start: int, count: int) -> list[Slot]:
        """Take ``count`` waiting pairs, from place ``start`` on."""
        taken = [Slot(self, place, self._pairs[place]) for place in self._waiting[start : start + count]]
        del self._waiting[start : start + count]
        self.waiting_tokens -= sum(slot.pair.computed for slot in taken)
        return taken

    def extend(self, pairs: Sequence[HasTokens]) -> None:
        """Add pairs behind the others, to a job with ``until``."""
        self._waiting += range(len(self._pairs), len(self._pairs) + len(pairs))
        self._pairs += pairs
        self._lengths += [pair.computed for pair in pairs]
        self.waiting_tokens += sum(pair.computed for pair in pairs)

    def complete(self) -> None:
        """No more pairs follow: the last result ends the job."""
        self._complete = True
        self._end_with_the_last()

    def expire(self) -> None:
        """Give up the waiting pairs: their result is None."""
        places, self._waiting, self.waiting_tokens = self._waiting, [], 0
        for place in places:
            self.resolve(place, None)

    def resolve(self, place: int, result: Any) -> None:
        """Set a pair's result; the last one ends the job."""
        self._results[place] = result
        self._end_with_the_last()

    def _end_with_the_last(self) -> None:
        if self._complete and len(self._results) == len(self._pairs):
            # the client may disconnect, or another device's thread end the job, before this line
            with suppress(InvalidStateError):
                self.future.set_result([self._results[index] for index in range(len(self._pairs))])

    def fail(self, error: Exception) -> None:
        """End the job with an error, unless it has ended already."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


class Slot(NamedTuple):
    """One pair in a batch, and the job it belongs to."""

    job: Job
    place: int
    pair: HasTokens
