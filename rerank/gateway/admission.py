"""How much work may be in the house at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rerank.errors import Overloaded, ServerStopping
from rerank.gateway.drain_rate import DrainRate


class Admission:
    """Counts documents. Belongs to the event loop's thread.

    Those that wait for a model to load are counted apart: however many there are, requests for models in memory get in.
    """

    def __init__(self, max_documents: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_documents = max_documents
        self._clock = clock
        self._rate = DrainRate()
        self.documents = 0
        """Documents in work now."""
        self.waiting = 0
        """Documents whose model is not in memory yet."""
        self.requests = 0
        """Requests in the house now."""
        self.closed = False
        """True once no request is let in any more."""
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        self.closed = True

    async def drained(self) -> None:
        """Return once no request is in the house."""
        await self._idle.wait()

    @contextmanager
    def admit(self, documents: int, *, waiting: bool = False, within: float | None = None) -> Iterator[Place]:
        """Hold room for a request's documents while it is in the house.

        Raises Overloaded or ServerStopping before anything is done: also where, at the rate of the last half minute, it
        could not be done ``within`` so many seconds.

        A request alone is always let in, however large: there is nothing to wait for.
        """
        if self.closed:
            raise ServerStopping("The server is shutting down.")
        others = self.waiting if waiting else self.documents
        if others and others + documents > self._max_documents:
            doing = "wait for a model to load" if waiting else "are in work"
            raise Overloaded(
                f"The server is busy: {others} documents {doing}, at most {self._max_documents} may be. "
                "Try again shortly.",
                retry_after=self._seconds_for(others + documents - self._max_documents),
            )
        if within is not None and not waiting:
            self._check_deadline(documents, within)
        place = Place(self, documents, waiting=waiting)
        self._idle.clear()
        try:
            yield place
        finally:
            place.leave()
            if not self.requests:
                self._idle.set()

    def _seconds_for(self, documents: int) -> float:
        """How long so many documents take, from one second to a minute."""
        rate = self._rate.per_second(self._clock())
        return min(max(documents / rate, 1.0), 60.0) if rate else 1.0

    def _check_deadline(self, documents: int, within: float) -> None:
        rate = self._rate.per_second(self._clock())
        if rate is None:
            return
        # requests share the device by turns, so a short one does not wait for the end of long ones
        ahead = min(self.documents, documents * self.requests)
        needed = (ahead + documents) / rate
        if needed > within:
            raise Overloaded(
                f"At the present rate {documents} documents would take {needed:.1f} s, but have {within:g} s. "
                "Send fewer documents, or try again later.",
                retry_after=self._seconds_for(self.documents),
            )

    def note_done(self, began: float, documents: int) -> None:
        """A request that began then has been answered."""
        self._rate.note(began, self._clock(), documents)

    def now(self) -> float:
        """The time by its clock."""
        return self._clock()


class Place:
    """The room one request holds."""

    def __init__(self, admission: Admission, documents: int, *, waiting: bool) -> None:
        self._admission = admission
        self._documents = documents
        self._waiting = waiting
        self._began = admission.now()
        admission.requests += 1
        self._count(documents)

    def begin(self) -> None:
        """The request's model is in memory, its work begins."""
        self._began = self._admission.now()
        self._count(-self._documents)
        self._waiting = False
        self._count(self._documents)

    def done(self) -> None:
        """The request's work is done."""
        self._admission.note_done(self._began, self._documents)

    def leave(self) -> None:
        """The request is over."""
        self._admission.requests -= 1
        self._count(-self._documents)

    def _count(self, documents: int) -> None:
        if self._waiting:
            self._admission.waiting += documents
        else:
            self._admission.documents += documents
