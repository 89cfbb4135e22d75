"""Simulated replicas: the server's own residency (``registry.Fleet``), a queue like its scheduler's, one device.

Models take turns batch by batch; of a model's requests the one that equal sharing would end first is served first
(``scheduling.EqualSharing``). Loads are one at a time and go on next to the scoring.
"""

from __future__ import annotations

import itertools
from collections import defaultdict, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

import simpy

from benchmarks.cluster_traffic import Arrival, SimulatedModel
from rerank.cluster.routing import Held, Replica
from rerank.registry.events import Event, Find, Found, Grant, Load, Loaded, Refuse, Release, Unload, Unloaded, Want
from rerank.registry.fleet import Fleet
from rerank.registry.lifecycle import State
from rerank.scheduling.sharing import EqualSharing

BATCH_SECONDS = 0.05
_DEVICE = "gpu"
_MICRO = 1_000_000
Process = Generator[simpy.Event, Any, None]


@dataclass(slots=True)
class Work:
    """A request at a replica."""

    arrival: Arrival
    left: float
    turn: float = 0.0


@dataclass(slots=True)
class _ModelQueue:
    waiting: list[tuple[float, int, Work]] = field(default_factory=list)
    sharing: EqualSharing = field(default_factory=EqualSharing)


class Queue:
    """Waiting requests of one device, or of several that share them."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._queues: dict[str, _ModelQueue] = {}
        self._count = itertools.count()
        self._idle: deque[simpy.Event] = deque()
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Per model, of its requests that are not answered; of a batch under way, nothing."""

    def add(self, work: Work) -> None:
        """Add a request, and wake an idle device."""
        name = work.arrival.model.card.id
        queue = self._queues.setdefault(name, _ModelQueue())
        work.turn = queue.sharing.enter(max(1, round(work.left * _MICRO)))
        self.seconds[name] += work.left
        self._put(work)

    def _put(self, work: Work) -> None:
        queue = self._queues.setdefault(work.arrival.model.card.id, _ModelQueue())
        heappush(queue.waiting, (work.turn, next(self._count), work))
        if self._idle:
            self._idle.popleft().succeed()

    def device(self, ended: Callable[[Work], None], used: list[tuple[float, float]]) -> Process:
        """A device that serves the queue for ever. ``used``: when each batch began, and how long it took."""
        while True:
            batch = self._next_batch()
            if not batch:
                idle = self._env.event()
                self._idle.append(idle)
                yield idle
                continue
            seconds = sum(share for _, share in batch)
            used.append((self._env.now, seconds))
            yield self._env.timeout(seconds)
            for work, share in batch:
                work.left -= share
                if work.left > 1 / _MICRO:
                    self._put(work)
                else:
                    ended(work)

    def _next_batch(self) -> list[tuple[Work, float]]:
        """Requests of one model, each with the seconds that it gets."""
        for name in list(self._queues):
            queue = self._queues.pop(name)
            if queue.waiting:
                # to the back: the other models come first now
                self._queues[name] = queue
                return self._fill(queue)
        return []

    def _fill(self, queue: _ModelQueue) -> list[tuple[Work, float]]:
        room, batch = BATCH_SECONDS, []
        while queue.waiting and room > 1 / _MICRO:
            _, _, work = heappop(queue.waiting)
            share = min(room, work.left)
            room -= share
            self.seconds[work.arrival.model.card.id] -= share
            queue.sharing.serve(max(1, round(share * _MICRO)))
            batch.append((work, share))
        return batch


class SimulatedReplica:
    """One server with one device."""

    def __init__(self, env: simpy.Environment, name: str, budget: int, answered: Callable[[Arrival], None]) -> None:
        self._env = env
        self.name = name
        self._budget = budget
        self._answered = answered
        self._fleet = Fleet({_DEVICE: budget})
        self._known: dict[str, SimulatedModel] = {}
        self._models: dict[str, SimulatedModel] = {}
        """Those in memory, and those that are to be loaded."""
        self._used_at: dict[str, float] = {}
        """When each model in memory was last asked for."""
        self._pending: defaultdict[str, float] = defaultdict(float)
        """Seconds of the requests that wait for each load."""
        self._loads: dict[str, float] = {}
        """When each load under way ends."""
        self._waiting: dict[int, Arrival | None] = {}
        """What waits for a grant, by ticket; None for a load alone."""
        self._used_by: dict[int, int] = {}
        """Tickets of requests in the queue, by the request's identity."""
        self._tickets = itertools.count()
        self._queue = Queue(env)
        self.loads: list[float] = []
        """When each load began."""
        self.used: list[tuple[float, float]] = []
        env.process(self._queue.device(self._ended, self.used))

    def ask(self, arrival: Arrival) -> None:
        """Take a request."""
        self._want(arrival.model, arrival)

    def load(self, model: SimulatedModel) -> None:
        """Load a model ahead."""
        self._want(model, None)

    def is_ready(self, model: SimulatedModel) -> bool:
        """True if the model is in memory."""
        return self._fleet.row(model.card).state is State.READY

    def report(self) -> Replica:
        """What the replica says of itself."""
        held = {name: self._held(name, model) for name, model in self._models.items()}
        backlog = sum(each.backlog_seconds for each in held.values()) + self._rest_of_batch()
        free = max(0, self._budget - sum(each.bytes for each in held.values()))
        return Replica(self.name, held, backlog, free, self._budget, at=self._env.now)

    def _held(self, name: str, model: SimulatedModel) -> Held:
        now, backlog = self._env.now, max(0.0, self._queue.seconds[name])
        if name in self._used_at:
            return Held(backlog, False, model.bytes, now - self._used_at[name])
        left = max(0.0, self._loads.get(name, now + model.load_seconds) - now)
        return Held(backlog + self._pending[name] + left, True, model.bytes)

    def _rest_of_batch(self) -> float:
        if not self.used:
            return 0.0
        began, seconds = self.used[-1]
        return max(0.0, began + seconds - self._env.now)

    def _want(self, model: SimulatedModel, arrival: Arrival | None) -> None:
        name = model.card.id
        self._models[name] = self._known[name] = model
        ticket = next(self._tickets)
        self._waiting[ticket] = arrival
        self._pending[name] += arrival.seconds if arrival else 0.0
        self._handle(Want(ticket, model.card))

    def _handle(self, first: Event) -> None:
        events: deque[Event] = deque([first])
        while events:
            for decision in self._fleet.handle(events.popleft(), self._env.now):
                match decision:
                    case Find(card):
                        self._models[card.id] = self._known[card.id]
                        events.append(Found(card.id, {_DEVICE: self._known[card.id].bytes}))
                    case Load(name):
                        self._env.process(self._loading(name))
                    case Unload(name):
                        del self._used_at[name], self._models[name]
                        events.append(Unloaded(name))
                    case Grant(ticket, name):
                        self._used_at[name] = self._env.now
                        events.extend(self._granted(ticket, name))
                    case Refuse(_, error):
                        raise error

    def _granted(self, ticket: int, name: str) -> list[Event]:
        arrival = self._waiting.pop(ticket)
        if arrival is None:
            return [Release(ticket)]
        self._pending[name] = max(0.0, self._pending[name] - arrival.seconds)
        self._used_by[id(arrival)] = ticket
        self._queue.add(Work(arrival, arrival.seconds))
        return []

    def _loading(self, name: str) -> Process:
        model = self._models[name]
        self.loads.append(self._env.now)
        self._loads[name] = self._env.now + model.load_seconds
        yield self._env.timeout(model.load_seconds)
        del self._loads[name]
        self._used_at[name] = self._env.now
        self._handle(Loaded(name, {_DEVICE: model.bytes}))

    def _ended(self, work: Work) -> None:
        self._answered(work.arrival)
        self._handle(Release(self._used_by.pop(id(work.arrival))))
