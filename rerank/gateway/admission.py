"""Admission: limits of work in flight, with an equal share per caller."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

from rerank.errors import Overloaded, ServerStopping
from rerank.gateway.drain_rate import DrainRate
from rerank.shared_state.names import hashed

_NAMES = {"documents": "{} documents", "tokens": "about {} tokens", "bytes": "{} bytes of texts"}


@dataclass(frozen=True, slots=True)
class Work:
    """An amount of work."""

    documents: int = 0
    tokens: int = 0
    """Estimated."""
    bytes: int = 0
    """Memory of the texts."""

    def __add__(self, other: Work) -> Work:
        return Work(self.documents + other.documents, self.tokens + other.tokens, self.bytes + other.bytes)

    def __sub__(self, other: Work) -> Work:
        return Work(self.documents - other.documents, self.tokens - other.tokens, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Work in flight on the other servers that share their state."""

    servers: int = 0
    by_caller: Mapping[str, Work] = field(default_factory=dict)
    """By the hash of the caller's name."""


class Admission:
    """Work in flight, by caller. Belongs to the event loop's thread.

    Requests that wait for a model to load are counted apart: they never block requests for loaded models.
    """

    def __init__(self, most: Work, clock: Callable[[], float] = time.monotonic) -> None:
        """``most``: maximum in-flight work; the same limit applies separately to requests waiting for a model.

        0 is no limit.
        """
        self._most = most
        self._clock = clock
        self._rate = DrainRate()
        self._local_rate = DrainRate()
        """That of local work alone: another server's time says nothing of when this one's devices are free."""
        self._work_room = _Room(clock)
        self._local_room = _Room(clock)
        """The part of the work being processed that takes time of this server's devices alone."""
        self._waiting_room = _Room(clock)
        self._of_models: Counter[str] = Counter()
        self.elsewhere = Elsewhere()
        """Work of the other servers, as far as it is known; they are taken to be as large as this one."""
        self.requests = 0
        """Requests being processed or waiting."""
        self.closed = False
        """True once no further request is admitted."""
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> Work:
        """Work being processed."""
        return self._work_room.taken

    @property
    def by_caller(self) -> dict[str, Work]:
        """Work being processed, by caller."""
        return {caller: self._work_room.of(caller) for caller in self._work_room.callers}

    @property
    def waiting(self) -> Work:
        """Work of requests that wait for a model to load."""
        return self._waiting_room.taken

    @property
    def tokens_of_models(self) -> dict[str, int]:
        """Estimated tokens of all requests, by the models that they begin with."""
        return dict(self._of_models)

    @property
    def tokens_per_second(self) -> float | None:
        """Rate of the last half minute, or the last one before; None before the first."""
        return self._rate.latest(self._clock())

    @property
    def busy_seconds(self) -> float:
        """Seconds that requests have been processed without a pause."""
        return self._clock() - self._work_room.since if self.in_flight.documents else 0.0

    def close(self) -> None:
        """Admit no further request; admitted ones go on."""
        self.closed = True

    async def drained(self) -> None:
        """Return once every admitted request has ended."""
        await self._idle.wait()

    @contextmanager
    def admit(
        self,
        work: Work,
        *,
        caller: str = "",
        waiting: bool = False,
        within: float | None = None,
        models: Sequence[str] = (),
        local: bool = True,
    ) -> Iterator[Place]:
        """Reserve capacity for a request's work until it ends. ``models``: those that it begins with.

        Raises Overloaded or ServerStopping before anything is done, also if ``local`` work, which takes time of this
        server's devices alone, could not end ``within`` the seconds given, at the rate of the last half minute.

        A single request is always admitted, however large: there is nothing to wait for. If one caller has used all
        capacity, another is still admitted up to an equal share, so up to twice the limit can be in flight. What a
        caller has in flight on other servers counts: its share there and here is that of all servers' capacity.
        """
        if self.closed:
            raise ServerStopping("The server is shutting down.")
        self._check_room(work, caller, waiting=waiting)
        if within is not None and local and not waiting:
            self._check_deadline(work, within)
        place = Place(self, work, caller, waiting=waiting, local=local)
        shares = _shares(work.tokens, models)
        self._of_models.update(shares)
        self.requests += 1
        self._idle.clear()
        try:
            yield place
        finally:
            # keeps only what is more than 0
            self._of_models -= shares
            self.requests -= 1
            if not self.requests:
                self._idle.set()
            place.leave()

    def rooms(self, *, waiting: bool, local: bool) -> list[_Room]:
        """The counters that apply."""
        if waiting:
            return [self._waiting_room]
        return [self._work_room, self._local_room] if local else [self._work_room]

    def has_spare(self, work: Work) -> bool:
        """True while less than half of the capacity is taken, with this work in addition."""
        after = self.in_flight + work
        amounts = ((getattr(after, unit), getattr(self._most, unit)) for unit in _NAMES)
        return not self.closed and all(not most or taken * 2 <= most for taken, most in amounts)

    def _check_room(self, work: Work, caller: str, *, waiting: bool) -> None:
        room = self._waiting_room if waiting else self._work_room
        if not room.taken.documents:
            return
        after, own = room.taken + work, room.of(caller) + work
        for unit, name in _NAMES.items():
            most, taken, total = (getattr(amount, unit) for amount in (self._most, room.taken, after))
            if most and total > most:
                shares = [(own, room.callers_with(caller)), *([] if waiting else [self._share_of_all(own, caller)])]
                if any(getattr(used, unit) * share > most for used, share in shares):
                    excess = (total - most) * room.taken.tokens / taken if taken else 0.0
                    raise self._full(name.format(taken), most, excess, waiting=waiting)

    def _share_of_all(self, own: Work, caller: str) -> tuple[Work, float]:
        """A caller's work on all servers, and how many callers share the capacity of each."""
        elsewhere, name = self.elsewhere.by_caller, hashed(caller)
        callers = elsewhere.keys() | {name} | {hashed(other) for other in self._work_room.callers}
        return own + elsewhere.get(name, Work()), len(callers) / (1 + self.elsewhere.servers)

    def _full(self, taken: str, most: int, excess: float, *, waiting: bool) -> Overloaded:
        doing = "wait for a model to load" if waiting else "are in flight"
        return Overloaded(
            f"The server is busy: {taken} {doing} (maximum {most}). Try again shortly.",
            retry_after=self._seconds_for(excess),
        )

    def _seconds_for(self, tokens: float) -> float:
        """Estimated seconds for a number of tokens, from one second to a minute."""
        rate = self._rate.per_second(self._clock())
        return _within_a_minute(tokens / rate) if rate else 1.0

    def _check_deadline(self, work: Work, within: float) -> None:
        rate = self._local_rate.per_second(self._clock())
        if rate is None:
            return
        local = self._local_room
        # requests share the device by turns, so a short one does not wait for the end of long ones
        ahead = min(local.taken.tokens, work.tokens * local.requests)
        needed = (ahead + work.tokens) / rate
        if needed > within:
            raise Overloaded(
                f"At the present rate the request would take {needed:.1f} s, but has {within:g} s. "
                "Send fewer documents, or try again later.",
                retry_after=_within_a_minute(local.taken.tokens / rate),
            )

    def note_done(self, began: float, work: Work, *, local: bool) -> None:
        """Note an answered request that began then."""
        for rate in [self._rate, self._local_rate] if local else [self._rate]:
            rate.note(began, self._clock(), work.tokens)

    def now(self) -> float:
        """Current time."""
        return self._clock()


def _shares(tokens: int, models: Sequence[str]) -> Counter[str]:
    """Tokens in equal parts; the first models have what is left over."""
    shares: Counter[str] = Counter()
    for place, model in enumerate(models):
        shares[model] += tokens // len(models) + (place < tokens % len(models))
    return shares


def _within_a_minute(seconds: float) -> float:
    return min(max(seconds, 1.0), 60.0)


class _Room:
    """Work by caller."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.taken = Work()
        self.requests = 0
        self.since = clock()
        """When it was last empty."""
        self._clock = clock
        self._by_caller: dict[str, Work] = {}

    @property
    def callers(self) -> Set[str]:
        """Callers that have work here."""
        return self._by_caller.keys()

    def of(self, caller: str) -> Work:
        """Work of one caller."""
        return self._by_caller.get(caller, Work())

    def callers_with(self, caller: str) -> int:
        """Number of callers, this one included."""
        return len(self.callers | {caller})

    def take(self, caller: str, work: Work) -> None:
        """Add work."""
        if not self._by_caller:
            self.since = self._clock()
        self.taken += work
        self.requests += 1
        self._by_caller[caller] = self.of(caller) + work

    def give_back(self, caller: str, work: Work) -> None:
        """Subtract work."""
        self.taken -= work
        self.requests -= 1
        left = self.of(caller) - work
        if left.documents:
            self._by_caller[caller] = left
        else:
            # it is gone already if another request without documents has ended
            self._by_caller.pop(caller, None)


class Place:
    """The capacity reserved for one request."""

    def __init__(self, admission: Admission, work: Work, caller: str, *, waiting: bool, local: bool) -> None:
        self._admission = admission
        self._work = work
        self._caller = caller
        self._waits = waiting
        self._local = local
        self._enter()

    def begin(self) -> None:
        """Begin the request's work: its model, or the first of them, is loaded."""
        if not self._waits:
            return
        self._waits = False
        self.leave()
        self._enter()

    def done(self) -> None:
        """Count the request's work as done."""
        self._admission.note_done(self._began, self._work, local=self._local)

    def leave(self) -> None:
        """Free the capacity."""
        for room in self._rooms:
            room.give_back(self._caller, self._work)

    def _enter(self) -> None:
        self._began = self._admission.now()
        self._rooms = self._admission.rooms(waiting=self._waits, local=self._local)
        for room in self._rooms:
            room.take(self._caller, self._work)
