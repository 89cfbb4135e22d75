"""All models together: events in, decisions out. Pure: no clock, no task, no thread; nothing is loaded here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rerank.backends.base import too_large
from rerank.catalog.cards import ModelCard
from rerank.errors import ServerStopping
from rerank.registry.events import (
    Decision,
    Dismiss,
    Done,
    Event,
    Failed,
    Find,
    Found,
    Loaded,
    Pin,
    Progress,
    Refuse,
    Release,
    Reload,
    Shutdown,
    Tick,
    Ticket,
    Unloaded,
    Want,
)
from rerank.registry.eviction import Fits, Never, Resident, Size, make_room, overfull, taken
from rerank.registry.lifecycle import Model, Phase, State


@dataclass(frozen=True, slots=True)
class Row:
    """Snapshot of one model."""

    state: State = State.ABSENT
    pinned: bool = False
    size: Size | None = None
    """Bytes it takes, or took when last loaded; the estimate during its first load."""
    measured: bool = False
    """False if ``size`` is an estimate."""
    since: float | None = None
    """When its current load was first requested."""
    last_used: float | None = None
    leases: int = 0
    waiting: int = 0
    loaded_once: bool = False
    """True if it was in memory at any time since the start."""


class Fleet:
    """Decides which models are loaded and unloaded, and answers the callers."""

    def __init__(self, budget: Size | None = None, keep_alive: float = 0) -> None:
        """``budget``: bytes for models on each device; a device without one has no limit.

        ``keep_alive``: seconds until an idle model is unloaded; 0 means never.
        """
        self._budget: Size = dict(budget or {})
        self._keep_alive = keep_alive
        self._models: dict[str, Model] = {}
        self._measured: dict[str, Size] = {}
        self._loaded_once: set[str] = set()
        self._pins: dict[str, bool] = {}
        self._wanted: dict[Ticket, str] = {}
        self._queue: list[str] = []
        """Models to load, in the order their weights were found."""
        self._stopped = False

    def handle(self, event: Event, now: float) -> list[Decision]:
        """The decisions after an event at ``now``, in order."""
        return [*self._apply(event, now), *self._begin_loads(now)]

    def row(self, card: ModelCard) -> Row:
        """Snapshot of a model."""
        pinned, measured = self._is_pinned(card), self._measured.get(card.id)
        model, once = self._models.get(card.id), card.id in self._loaded_once
        if model is None:
            return Row(pinned=pinned, size=measured, measured=measured is not None, loaded_once=once)
        loading = model.phase.state is State.LOADING
        return Row(
            state=model.phase.state,
            pinned=pinned,
            size=measured or model.size or None,
            measured=measured is not None,
            since=model.since if loading else None,
            last_used=model.last_used,
            leases=len(model.leases),
            waiting=len(model.waiting),
            loaded_once=once,
        )

    def may_go(self, card: ModelCard) -> bool:
        """True if the model is in memory, idle and not to stay."""
        model = self._models.get(card.id)
        return model is not None and model.idle and self._is_movable(model.card)

    def rows(self) -> dict[str, Row]:
        """Snapshots of the models that are or were in memory, or on their way."""
        gone = {name: Row(size=size, measured=True, loaded_once=True) for name, size in self._measured.items()}
        return gone | {name: self.row(model.card) for name, model in self._models.items()}

    def arriving(self) -> list[Model]:
        """Models that are loading or wait for that, in the order in which they will be loaded."""
        loading = [model for model in self._models.values() if model.phase is Phase.LOADING]
        queued = [self._models[name] for name in self._queue]
        others = [model for model in self._models.values() if model.phase is Phase.FINDING]
        returning = [model for model in self._models.values() if model.leaving and model.waiting]
        return [*loading, *queued, *others, *returning]

    @property
    def budget(self) -> Size:
        """Bytes for models on each device that has a limit."""
        return self._budget

    def free_bytes(self) -> dict[str, int]:
        """What the models in memory leave of each device's budget; 0 while they take more than that."""
        residents = self._residents()
        return {device: max(0, limit - taken(residents, device)) for device, limit in self._budget.items()}

    def next_tick(self) -> float | None:
        """When the next idle model is to be unloaded; None if none is."""
        moments = (self._expiry(model) for model in self._models.values())
        return min((moment for moment in moments if moment is not None), default=None)

    def _apply(self, event: Event, now: float) -> list[Decision]:
        match event:
            case Want(ticket, card):
                return self._want(ticket, card, now)
            case Release(ticket):
                return self._release(ticket, now)
            case Dismiss(ticket, name):
                return self._dismiss(ticket, name)
            case Pin(ticket, name, pinned):
                self._pins[name] = pinned
                return [Done(ticket)]
            case Reload(cards):
                return self._reload(cards)
            case Tick():
                return self._expire(now)
            case Shutdown():
                return self._shut_down()
            case _:
                return self._progress(event, now)

    def _progress(self, event: Progress, now: float) -> list[Decision]:
        if self._stopped:
            return []
        match event:
            case Found(name, size):
                self._queue.append(name)
                return self._models[name].found(size, self._measured.get(name, size))
            case Loaded(name, size):
                return self._loaded(name, size, now)
            case Failed(name, error):
                return self._kept_if_awaited(name, self._models[name].failed(error, now))
            case Unloaded(name):
                return self._kept_if_awaited(name, self._models[name].unloaded(now))

    def _want(self, ticket: Ticket, card: ModelCard, now: float) -> list[Decision]:
        if self._stopped:
            return [Refuse(ticket, _stopping())]
        self._wanted[ticket] = card.id
        model = self._models.get(card.id)
        if model:
            return model.want(ticket, card, now)
        self._models[card.id] = Model(card, since=now, waiting={ticket: card})
        return [Find(card, ticket)]

    def _release(self, ticket: Ticket, now: float) -> list[Decision]:
        model = self._models.get(self._wanted.pop(ticket, ""))
        return model.release(ticket, now) if model else []

    def _loaded(self, name: str, size: Size, now: float) -> list[Decision]:
        self._measured[name] = size
        self._loaded_once.add(name)
        decisions = self._models[name].loaded(size, now)
        # it may be larger than estimated
        others = [resident for resident in self._residents() if resident.id != name]
        left = {device: limit - size.get(device, 0) for device, limit in self._budget.items()}
        return decisions + self._dismiss_all(overfull(left, others))

    def _kept_if_awaited(self, name: str, decisions: list[Decision]) -> list[Decision]:
        """The decisions at the end of a model, which is forgotten unless a caller waits for it."""
        if not self._models[name].waiting:
            del self._models[name]
        return decisions

    def _dismiss(self, ticket: Ticket, name: str) -> list[Decision]:
        model = self._models.get(name)
        if model is None or self._stopped:
            return [Done(ticket)]
        model.dismissals.append(ticket)
        return model.leave()

    def _reload(self, cards: Iterable[ModelCard]) -> list[Decision]:
        """Unload the models whose card is gone or loads something else; the others take their new card."""
        by_id = {card.id: card for card in cards}
        gone = []
        for name, model in self._models.items():
            card = by_id.get(name)
            if card is None or not card.loads_like(model.card):
                gone.append(name)
                self._measured.pop(name, None)
            if card is not None:
                model.follow(card)
        return self._dismiss_all(gone)

    def _expire(self, now: float) -> list[Decision]:
        moments = {name: self._expiry(model) for name, model in self._models.items()}
        return self._dismiss_all(name for name, moment in moments.items() if moment is not None and moment <= now)

    def _expiry(self, model: Model) -> float | None:
        keep_alive = self._keep_alive if model.card.keep_alive is None else model.card.keep_alive
        if not keep_alive or not model.idle or model.last_used is None or not self._is_movable(model.card):
            return None
        return model.last_used + keep_alive

    def _shut_down(self) -> list[Decision]:
        self._stopped = True
        return [decision for model in self._models.values() for decision in model.fail(_stopping())]

    def _begin_loads(self, now: float) -> list[Decision]:
        """Load every queued model that takes no memory, then the first of the others if it fits.

        Models that take memory are loaded one at a time.
        """
        if self._stopped:
            return []
        at_once = [name for name in self._queue if not self._models[name].takes_memory]
        decisions = [decision for name in at_once for decision in self._begin(name)]
        # while memory is being freed it is not available, and a load could not be measured
        while self._queue and not self._memory_changes():
            model = self._models[self._queue[0]]
            room = make_room(model.size, self._budget, self._residents())
            match room:
                case Fits():
                    return decisions + self._begin(model.card.id)
                case Never() if model.estimate.get(room.device, 0) < room.needed:
                    # it ran before: its measurement must not lock it out
                    model.size = model.estimate
                case Never():
                    error = too_large(model.card.id, room.needed, room.device, room.available, room.pinned)
                    decisions += self._kept_if_awaited(self._queue.pop(0), model.failed(error, now))
                case _:
                    return decisions + self._dismiss_all(room.evict)
        return decisions

    def _begin(self, name: str) -> list[Decision]:
        self._queue.remove(name)
        return self._models[name].begin()

    def _memory_changes(self) -> bool:
        moving = (Phase.LOADING, Phase.UNLOADING)
        return any(model.phase in moving and model.takes_memory for model in self._models.values())

    def _dismiss_all(self, ids: Iterable[str]) -> list[Decision]:
        return [decision for name in ids for decision in self._models[name].leave()]

    def _residents(self) -> list[Resident]:
        return [
            Resident(
                id=name,
                size=model.size,
                last_used=model.last_used or 0.0,
                busy=bool(model.leases) or model.phase is not Phase.READY,
                pinned=self._is_pinned(model.card),
                leaving=model.leaving,
            )
            for name, model in self._models.items()
            if model.in_memory
        ]

    def _is_movable(self, card: ModelCard) -> bool:
        """False for a model that stays: a pinned one, and one that takes no memory."""
        return card.has_weights and not self._is_pinned(card)

    def _is_pinned(self, card: ModelCard) -> bool:
        return self._pins.get(card.id, card.pinned)


def _stopping() -> ServerStopping:
    return ServerStopping("The server is shutting down.")
