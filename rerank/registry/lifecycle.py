"""Lifecycle of one model in memory. Pure: each method is an event and returns decisions; there is no clock.

    FINDING ──found──▶ QUEUED ──begin──▶ LOADING ──loaded──▶ READY ──leave──▶ DRAINING ──last lease ends──▶ UNLOADING
       ▲                                                                                                       │
       └───────────────────────────────── a caller waits for it again ◀────────────────────────────────────────┤
                                                                                   none waits: forgotten ◀─────┘

A failed load is forgotten. If the catalog is reloaded during a load, requests from before it get this load, and later
ones the next. A draining model takes no new work: new requests wait until it is unloaded and loaded again. Otherwise a
busy model would never drain and could block another for ever. A model that is nothing on this machine does not drain:
its requests go on while it is unloaded, and new ones do not wait for them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rerank.catalog.cards import ModelCard
from rerank.errors import RerankError
from rerank.registry.events import Decision, Done, Find, Grant, Load, Refuse, Ticket, Unload
from rerank.registry.eviction import Size


class State(StrEnum):
    """State of a model, as shown to people."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Phase(StrEnum):
    """State of a model, for the registry."""

    FINDING = "finding"
    """Its weights are being located or fetched."""
    QUEUED = "queued"
    """It waits for its turn and for memory."""
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """It is unloaded once its requests are done."""
    UNLOADING = "unloading"
    """Its memory is being freed."""

    @property
    def state(self) -> State:
        """The state as shown to people."""
        return _STATES.get(self, State.LOADING)


_STATES = {Phase.READY: State.READY, Phase.DRAINING: State.DRAINING, Phase.UNLOADING: State.DRAINING}
_IN_MEMORY = frozenset({Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.UNLOADING})


@dataclass(slots=True)
class Model:
    """A model in memory, or on its way in or out."""

    card: ModelCard
    """The catalog's."""
    since: float
    """When its current load was first requested."""
    source: ModelCard = field(init=False)
    """The card it is loaded by, or was found by; older than ``card`` if the catalog was reloaded since."""
    phase: Phase = Phase.FINDING
    size: Size = field(default_factory=dict)
    """Bytes it takes, measured or expected."""
    estimate: Size = field(default_factory=dict)
    """Estimated bytes, before any measurement."""
    last_used: float | None = None
    """When a request for it last began or ended; None before the first."""
    waiting: dict[Ticket, ModelCard] = field(default_factory=dict)
    """Waiting tickets in order of arrival, with their cards."""
    leases: set[Ticket] = field(default_factory=set)
    """Tickets that use it."""
    dismissals: list[Ticket] = field(default_factory=list)
    """Tickets that wait until it is unloaded."""
    unwanted: bool = False
    """True if it is to be unloaded as soon as it has served the waiting tickets."""

    def __post_init__(self) -> None:
        self.source = self.card

    @property
    def replaced(self) -> bool:
        """True if the catalog's card for it describes another model than the one that is loaded."""
        return not self.card.loads_like(self.source)

    @property
    def in_memory(self) -> bool:
        """True while its memory counts as used."""
        return self.phase in _IN_MEMORY

    @property
    def takes_memory(self) -> bool:
        """True if it takes bytes on a device of this machine; a remote model takes none."""
        return any(self.size.values())

    @property
    def leaving(self) -> bool:
        """True while it drains or is unloaded."""
        return self.phase in (Phase.DRAINING, Phase.UNLOADING)

    @property
    def idle(self) -> bool:
        """True if it could be unloaded at once."""
        return self.phase is Phase.READY and not self.leases

    def want(self, ticket: Ticket, card: ModelCard, now: float) -> list[Decision]:
        """A caller asks for it."""
        if self.phase is Phase.READY:
            return self._grant(ticket, now)
        self.waiting[ticket] = self.card if self.replaced else card
        return []

    def release(self, ticket: Ticket, now: float) -> list[Decision]:
        """A caller is done, or no longer waits. A load in progress continues for the next caller."""
        self.waiting.pop(ticket, None)
        if ticket in self.leases:
            self.leases.remove(ticket)
            self.last_used = now
        return self._unload_if_drained()

    def found(self, estimate: Size, expected: Size) -> list[Decision]:
        """Its weights are on disk. ``expected`` is what the last load measured, or the estimate."""
        self.phase = Phase.QUEUED
        self.estimate, self.size = estimate, expected
        return []

    def begin(self) -> list[Decision]:
        """Its load begins."""
        self.phase = Phase.LOADING
        return [Load(self.card.id)]

    def loaded(self, size: Size, now: float) -> list[Decision]:
        """It is in memory, with its measured size."""
        self.phase = Phase.READY
        self.size = size
        self.last_used = now
        decisions = [decision for ticket in self._served() for decision in self._grant(ticket, now)]
        return decisions + (self.leave() if self.unwanted else [])

    def leave(self) -> list[Decision]:
        """Unload it: at once if idle or not on this machine, after its requests if busy, after its load if loading."""
        if self.phase is not Phase.READY:
            self.unwanted = not self.leaving
            return []
        self.phase = Phase.DRAINING
        return self._unload_if_drained()

    def follow(self, card: ModelCard) -> None:
        """The reloaded catalog has this card for it; callers that wait for the next load get it with that."""
        served = () if self.leaving else self._served()
        self.card = card
        self.waiting = {ticket: self.source if ticket in served else card for ticket in self.waiting}

    def unloaded(self, now: float) -> list[Decision]:
        """It is out of memory. With waiting callers it is loaded again, otherwise forgotten."""
        done: list[Decision] = [Done(ticket) for ticket in self.dismissals]
        self.dismissals.clear()
        self.leases.clear()
        if not self.waiting:
            return done
        ticket, self.card = next(iter(self.waiting.items()))
        self.source = self.card
        self.phase, self.since, self.size, self.unwanted = Phase.FINDING, now, {}, False
        return [*done, Find(self.card, ticket)]

    def failed(self, error: RerankError, now: float) -> list[Decision]:
        """It cannot be loaded: fail the callers of this load. Those of the next one have it found again."""
        refused: list[Decision] = [Refuse(ticket, error) for ticket in self._served()]
        for ticket in self._served():
            del self.waiting[ticket]
        return refused + self.unloaded(now)

    def fail(self, error: RerankError) -> list[Decision]:
        """Fail all waiting callers and forget it."""
        refused: list[Decision] = [Refuse(ticket, error) for ticket in self.waiting]
        done: list[Decision] = [Done(ticket) for ticket in self.dismissals]
        self.waiting.clear()
        self.dismissals.clear()
        return refused + done

    @property
    def _is_here(self) -> bool:
        """False if its requests can go on once it is unloaded."""
        return self.takes_memory or self.source.has_weights

    def _served(self) -> list[Ticket]:
        """The callers that wait for the load under way."""
        return [ticket for ticket, card in self.waiting.items() if not self.replaced or card.loads_like(self.source)]

    def _grant(self, ticket: Ticket, now: float) -> list[Decision]:
        self.waiting.pop(ticket, None)
        self.leases.add(ticket)
        self.last_used = now
        return [Grant(ticket, self.card.id)]

    def _unload_if_drained(self) -> list[Decision]:
        if self.phase is not Phase.DRAINING or (self.leases and self._is_here):
            return []
        self.phase = Phase.UNLOADING
        return [Unload(self.card.id)]
