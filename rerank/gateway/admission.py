"""How much work may be in the house at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rerank.errors import Overloaded, ServerStopping
from rerank.gateway.drain_rate import DrainRate

_NAMES = {"documents": "{} documents", "tokens": "about {} tokens", "bytes": "{} bytes of texts"}


@dataclass(frozen=True, slots=True)
class Work:
    """An amount of work."""

    documents: int = 0
    tokens: int = 0
    """Estimated."""
    bytes: int = 0
    """Memory of the texts, however little of them a model reads."""

    def __add__(self, other: Work) -> Work:
        return Work(self.documents + other.documents, self.tokens + other.tokens, self.bytes + other.bytes)

    def __sub__(self, other: Work) -> Work:
        return Work(self.documents - other.documents, self.tokens - other.tokens, self.bytes - other.bytes)


class Admission:
    """Counts work, by caller. Belongs to the event loop's thread.

    What waits for a model to load is counted apart: however much it is, requests for models in memory get in.
    """

    def __init__(self, most: Work, clock: Callable[[], float] = time.monotonic) -> None:
        """``most``: what may be in work, and once more what may wait for models; 0 is no limit."""
        self._most = most
        self._clock = clock
        self._rate = DrainRate()
        self._work_room = _Room()
        self._waiting_room = _Room()
        self.requests = 0
        """Requests in the house now."""
        self.closed = False
        """True once no request is let in any more."""
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> Work:
        """What is in work now."""
        return self._work_room.taken

    @property
    def waiting(self) -> Work:
        """What waits for a model to load."""
        return self._waiting_room.taken

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        self.closed = True

    async def drained(self) -> None:
        """Return once no request is in the house."""
        await self._idle.wait()

    @contextmanager
    def admit(
        self, work: Work, *, caller: str = "", waiting: bool = False, within: float | None = None
    ) -> Iterator[Place]:
        """Hold room for a request's work while it is in the house.

        Raises Overloaded or ServerStopping before anything is done: also where, at the rate of the last half minute, it
        could not be done ``within`` so many seconds.

        A request alone is always let in, however large: there is nothing to wait for. Where one caller has filled the
        house, another still gets in, up to an equal share; so there may be up to twice the most.
        """
        if self.closed:
            raise ServerStopping("The server is shutting down.")
        self._check_room(work, caller, waiting=waiting)
        if within is not None and not waiting:
            self._check_deadline(work, within)
        place = Place(self, work, caller, waiting=waiting)
        self._idle.clear()
        try:
            yield place
        finally:
            place.leave()
            if not self.requests:
                self._idle.set()

    def room(self, *, waiting: bool) -> _Room:
        """Where work is counted."""
        return self._waiting_room if waiting else self._work_room

    def _check_room(self, work: Work, caller: str, *, waiting: bool) -> None:
        room = self.room(waiting=waiting)
        if not room.taken.documents:
            return
        after, own = room.taken + work, room.of(caller) + work
        share = room.callers_with(caller)
        for unit, name in _NAMES.items():
            most, taken, total = (getattr(amount, unit) for amount in (self._most, room.taken, after))
            if most and total > most and getattr(own, unit) * share > most:
                excess = (total - most) * room.taken.tokens / taken if taken else 0.0
                raise self._full(name.format(taken), most, excess, waiting=waiting)

    def _full(self, taken: str, most: int, excess: float, *, waiting: bool) -> Overloaded:
        doing = "wait for a model to load" if waiting else "are in work"
        return Overloaded(
            f"The server is busy: {taken} {doing}, at most {most} may be. Try again shortly.",
            retry_after=self._seconds_for(excess),
        )

    def _seconds_for(self, tokens: float) -> float:
        """How long so many tokens take, from one second to a minute."""
        rate = self._rate.per_second(self._clock())
        return min(max(tokens / rate, 1.0), 60.0) if rate else 1.0

    def _check_deadline(self, work: Work, within: float) -> None:
        rate = self._rate.per_second(self._clock())
        if rate is None:
            return
        # requests share the device by turns, so a short one does not wait for the end of long ones
        ahead = min(self.in_flight.tokens, work.tokens * self.requests)
        needed = (ahead + work.tokens) / rate
        if needed > within:
            raise Overloaded(
                f"At the present rate {work.documents} documents would take {needed:.1f} s, but have {within:g} s. "
                "Send fewer documents, or try again later.",
                retry_after=self._seconds_for(self.in_flight.tokens),
            )

    def note_done(self, began: float, work: Work) -> None:
        """A request that began then has been answered."""
        self._rate.note(began, self._clock(), work.tokens)

    def now(self) -> float:
        """The time by its clock."""
        return self._clock()


class _Room:
    """Work by caller."""

    def __init__(self) -> None:
        self.taken = Work()
        self._by_caller: dict[str, Work] = {}

    def of(self, caller: str) -> Work:
        """What a caller has in here."""
        return self._by_caller.get(caller, Work())

    def callers_with(self, caller: str) -> int:
        """How many callers there are, this one among them."""
        return len(self._by_caller.keys() | {caller})

    def take(self, caller: str, work: Work) -> None:
        """Put work in."""
        self.taken += work
        self._by_caller[caller] = self.of(caller) + work

    def give_back(self, caller: str, work: Work) -> None:
        """Take it out again."""
        self.taken -= work
        left = self.of(caller) - work
        if left.documents:
            self._by_caller[caller] = left
        else:
            del self._by_caller[caller]


class Place:
    """The room one request holds."""

    def __init__(self, admission: Admission, work: Work, caller: str, *, waiting: bool) -> None:
        self._admission = admission
        self._work = work
        self._caller = caller
        self._waiting = waiting
        self._began = admission.now()
        admission.requests += 1
        admission.room(waiting=waiting).take(caller, work)

    def begin(self) -> None:
        """The request's model is in memory, its work begins."""
        self._began = self._admission.now()
        self._admission.room(waiting=self._waiting).give_back(self._caller, self._work)
        self._waiting = False
        self._admission.room(waiting=False).take(self._caller, self._work)

    def done(self) -> None:
        """The request's work is done."""
        self._admission.note_done(self._began, self._work)

    def leave(self) -> None:
        """The request is over."""
        self._admission.requests -= 1
        self._admission.room(waiting=self._waiting).give_back(self._caller, self._work)
