"""One model's way through memory. Pure: each method is an event, returns what to do, and knows no clock.

    FINDING ──found──▶ QUEUED ──begin──▶ LOADING ──loaded──▶ READY ──leave──▶ DRAINING ──last lease ends──▶ UNLOADING
       ▲                                                                                                       │
       └───────────────────────────────── somebody waits for it again ◀────────────────────────────────────────┤
                                                                                    nobody does: forgotten ◀───┘

A load that fails is forgotten. A model that drains takes no new work: who wants it waits until it is gone and loaded
anew. Otherwise the requests for a busy model could keep another one out for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rerank.catalog.cards import ModelCard
from rerank.errors import RerankError
from rerank.registry.events import Decision, Done, Find, Grant, Load, Refuse, Ticket, Unload
from rerank.registry.eviction import Size


class State(StrEnum):
    """Where a model is, for people."""

    ABSENT = "absent"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"


class Phase(StrEnum):
    """Where a model is, for the registry."""

    FINDING = "finding"
    """Its weights are looked for, or fetched."""
    QUEUED = "queued"
    """It waits for its turn and for room."""
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    """It goes once the work on it is done."""
    UNLOADING = "unloading"
    """Its memory is being given back."""

    @property
    def state(self) -> State:
        """The same for people."""
        return _STATES.get(self, State.LOADING)


_STATES = {Phase.READY: State.READY, Phase.DRAINING: State.DRAINING, Phase.UNLOADING: State.DRAINING}
_IN_MEMORY = frozenset({Phase.LOADING, Phase.READY, Phase.DRAINING, Phase.UNLOADING})


@dataclass(slots=True)
class Model:
    """A model that is in memory, or on its way in or out."""

    card: ModelCard
    since: float
    """When somebody last began to want it loaded."""
    phase: Phase = Phase.FINDING
    size: Size = field(default_factory=dict)
    """Bytes it takes, or is expected to take."""
    estimate: Size = field(default_factory=dict)
    """Bytes it was thought to take before it was ever loaded."""
    last_used: float | None = None
    """When work on it last began or ended; None before the first."""
    waiting: dict[Ticket, ModelCard] = field(default_factory=dict)
    """Who waits to work with it, the first first, and with which card."""
    leases: set[Ticket] = field(default_factory=set)
    """Who works with it."""
    dismissals: list[Ticket] = field(default_factory=list)
    """Who waits until it is gone."""
    unwanted: bool = False
    """True if it is to go as soon as it has served who waits."""

    @property
    def in_memory(self) -> bool:
        """True while its memory counts as taken."""
        return self.phase in _IN_MEMORY

    @property
    def takes_memory(self) -> bool:
        """True if it takes bytes on some device; a model behind another server takes none."""
        return any(self.size.values())

    @property
    def leaving(self) -> bool:
        """True once it has been told to go."""
        return self.phase in (Phase.DRAINING, Phase.UNLOADING)

    @property
    def idle(self) -> bool:
        """True if it could go at once."""
        return self.phase is Phase.READY and not self.leases

    def want(self, ticket: Ticket, card: ModelCard, now: float) -> list[Decision]:
        """A caller wants to work with it."""
        if self.phase is Phase.READY:
            return self._grant(ticket, now)
        self.waiting[ticket] = card
        return []

    def release(self, ticket: Ticket, now: float) -> list[Decision]:
        """A caller has done its work, or waits no longer. A load goes on for whoever comes next."""
        self.waiting.pop(ticket, None)
        if ticket in self.leases:
            self.leases.remove(ticket)
            self.last_used = now
        return self._unload_if_drained()

    def found(self, estimate: Size, expected: Size) -> list[Decision]:
        """Its weights are on disk, and need so much memory: as estimated, and as its last load makes one expect."""
        self.phase = Phase.QUEUED
        self.estimate, self.size = estimate, expected
        return []

    def begin(self) -> list[Decision]:
        """There is room for it, and it is its turn."""
        self.phase = Phase.LOADING
        return [Load(self.card.id)]

    def loaded(self, size: Size, now: float) -> list[Decision]:
        """It is in memory, and takes so much."""
        self.phase = Phase.READY
        self.size = size
        self.last_used = now
        decisions = [decision for ticket in list(self.waiting) for decision in self._grant(ticket, now)]
        return decisions + (self.leave() if self.unwanted else [])

    def leave(self) -> list[Decision]:
        """It is to go: at once if it is idle, when its work is done if it is not, after its load if it is loading."""
        if self.phase is not Phase.READY:
            self.unwanted = not self.leaving
            return []
        self.phase = Phase.DRAINING
        return self._unload_if_drained()

    def follow(self, card: ModelCard) -> None:
        """The catalog was read anew, and holds this card for it: whoever waits for the next load gets that one."""
        self.card = card
        self.waiting = dict.fromkeys(self.waiting, card)

    def unloaded(self, now: float) -> list[Decision]:
        """Its memory has been given back. If somebody waits for it, it is loaded anew, else it is forgotten."""
        told: list[Decision] = [Done(ticket) for ticket in self.dismissals]
        self.dismissals.clear()
        if not self.waiting:
            return told
        ticket, self.card = next(iter(self.waiting.items()))
        self.phase, self.since, self.size, self.unwanted = Phase.FINDING, now, {}, False
        return [*told, Find(self.card, ticket)]

    def fail(self, error: RerankError) -> list[Decision]:
        """It cannot be had. Whoever waits is told; the registry forgets it."""
        refused: list[Decision] = [Refuse(ticket, error) for ticket in self.waiting]
        told: list[Decision] = [Done(ticket) for ticket in self.dismissals]
        self.waiting.clear()
        self.dismissals.clear()
        return refused + told

    def _grant(self, ticket: Ticket, now: float) -> list[Decision]:
        self.waiting.pop(ticket, None)
        self.leases.add(ticket)
        self.last_used = now
        return [Grant(ticket, self.card.id)]

    def _unload_if_drained(self) -> list[Decision]:
        if self.phase is not Phase.DRAINING or self.leases:
            return []
        self.phase = Phase.UNLOADING
        return [Unload(self.card.id)]
