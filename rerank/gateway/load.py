"""Load of a server: what is in memory, and how long the work in flight takes. Read without a lock, once per second."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from rerank.gateway.admission import Admission
from rerank.registry.fleet import Row
from rerank.registry.lifecycle import State
from rerank.registry.registry import Registry


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """Load of one model."""

    state: State = State.ABSENT
    tokens: int = 0
    """Estimated tokens of its requests, running and waiting."""
    backlog_seconds: float = 0.0
    """Expected seconds until its requests are answered: until it is in memory, and for their tokens."""
    load_seconds: float | None = None
    """Duration of its last load; None if it was not in memory since the start."""
    bytes: int | None = None
    """Memory it takes or took, or an estimate during its first load; None if it is not known."""
    idle_seconds: float | None = None
    """Since its last request; 0 while there is one, None unless it is in memory."""
    pinned: bool = False

    @property
    def in_memory(self) -> bool:
        """True if a request need not wait for it."""
        return self.state is State.READY


@dataclass(frozen=True, slots=True)
class ServerLoad:
    """Load of a server at one moment."""

    models: Mapping[str, ModelLoad] = field(default_factory=dict)
    """By id: every model that is or was in memory, is loading, or has requests."""
    backlog_seconds: float = 0.0
    """Expected seconds for the tokens of all requests, loads apart: a load holds up the requests of its model only."""
    tokens_per_second: float | None = None
    """Measured rate while there is work; None before the first few requests."""
    free_bytes: int | None = None
    """What the models in memory leave of the memory budget, on the device with the least; None without a budget."""
    budget_bytes: int | None = None
    """The memory budget, on the device with the least; None without one."""
    requests: int = 0
    """Requests in flight, those that wait for a model included."""
    tokens: int = 0
    """Estimated tokens of these requests."""
    draining: bool = False
    """True once no further request is admitted."""


def server_load(admission: Admission, registry: Registry) -> ServerLoad:
    """The load now. Called on the event loop's thread."""
    now = asyncio.get_running_loop().time()
    tokens, arrivals, seconds = admission.tokens_of_models, registry.arrivals(), registry.load_seconds()
    rows, rate, unmeasured = registry.rows(), admission.tokens_per_second, admission.busy_seconds

    def backlog(of: int) -> float:
        # while no rate is known: as long again as it has been busy
        return of / rate if rate else unmeasured if of else 0.0

    def load(name: str) -> ModelLoad:
        row, queued = rows.get(name, Row()), tokens.get(name, 0)
        wait = arrivals.get(name, 0.0) + backlog(queued)
        size = None if row.size is None else sum(row.size.values())
        return ModelLoad(row.state, queued, wait, seconds.get(name), size, _idle(row, now), row.pinned)

    total = sum(tokens.values())
    return ServerLoad(
        models={name: load(name) for name in sorted({*tokens, *arrivals, *rows})},
        backlog_seconds=backlog(total),
        tokens_per_second=rate,
        free_bytes=min(registry.free_bytes().values(), default=None),
        budget_bytes=min(registry.budget.values(), default=None),
        requests=admission.requests,
        tokens=total,
        draining=admission.closed,
    )


def _idle(row: Row, now: float) -> float | None:
    if row.last_used is None or row.state not in (State.READY, State.DRAINING):
        return None
    return 0.0 if row.leases else now - row.last_used
