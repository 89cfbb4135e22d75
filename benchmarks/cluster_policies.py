"""Ways to choose a replica, for the simulation: ours, and those that balancers have.

All but round robin know the replicas' reports, a second old at most, and add what they sent since.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Sequence
from typing import Protocol

from benchmarks.cluster_traffic import Arrival, SimulatedModel
from rerank.cluster.outlook import Outlook
from rerank.cluster.routing import Replica, Wanted, choose

_BOUND = 1.25
"""Load of a replica, to the mean, from which bounded hashing goes on to the next one."""
_BOUND_SLACK = 0.5
"""Seconds that are allowed in addition: next to an empty cluster everything is above the mean."""


class Policy(Protocol):
    """A router."""

    def report(self, replica: Replica) -> None:
        """Take a replica's report."""
        ...

    def route(self, arrival: Arrival, now: float) -> tuple[str, str | None]:
        """The replica to ask, and the one to load the model ahead, if any."""
        ...


class RoundRobin:
    """Each in turn."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = itertools.cycle(names)

    def report(self, replica: Replica) -> None:
        """Nothing is known."""

    def route(self, arrival: Arrival, now: float) -> tuple[str, str | None]:  # noqa: ARG002
        """The next one."""
        return next(self._names), None


class _Informed:
    """A router with reports."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._outlook = Outlook()

    def report(self, replica: Replica) -> None:
        """Take a report."""
        self._outlook.report(replica)

    def _sent(self, name: str, arrival: Arrival, now: float) -> None:
        self._outlook.sent(name, wanted(arrival), arrival.expected_seconds, now)

    def _backlogs(self, now: float) -> dict[str, float]:
        replicas = self._outlook.replicas()
        return {each.name: max(0.0, each.backlog_seconds - (now - each.at)) for each in replicas}


class LeastLoaded(_Informed):
    """The replica with the least backlog, whatever it has in memory."""

    def route(self, arrival: Arrival, now: float) -> tuple[str, str | None]:
        """That replica."""
        backlogs = self._backlogs(now)
        name = min(backlogs, key=backlogs.__getitem__)
        self._sent(name, arrival, now)
        return name, None


class ModelHash(_Informed):
    """A replica per model, by consistent (rendezvous) hashing."""

    bound = float("inf")

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(names)
        self._orders: dict[str, list[str]] = {}

    def route(self, arrival: Arrival, now: float) -> tuple[str, str | None]:
        """The first of the model's replicas that is not overloaded."""
        backlogs = self._backlogs(now)
        limit = self.bound * sum(backlogs.values()) / len(backlogs) + _BOUND_SLACK
        order = self._order(arrival.model)
        name = next((name for name in order if backlogs[name] <= limit), order[0])
        self._sent(name, arrival, now)
        return name, None

    def _order(self, model: SimulatedModel) -> list[str]:
        name = model.card.id
        if name not in self._orders:
            self._orders[name] = sorted(
                self._names, key=lambda each: hashlib.blake2b(f"{name}\0{each}".encode(), digest_size=8).digest()
            )
        return self._orders[name]


class BoundedHash(ModelHash):
    """The same, and the next replica where one has more than its share (Mirrokni et al., 2018)."""

    bound = _BOUND


class Ours(_Informed):
    """The rule of ``rerank.cluster.routing``."""

    def route(self, arrival: Arrival, now: float) -> tuple[str, str | None]:
        """Its choice."""
        choice = choose(self._outlook.replicas(), wanted(arrival), now)
        first = choice.order[0]
        self._sent(first, arrival, now)
        if choice.load is None or choice.load == first:
            return first, None
        self._outlook.sent(choice.load, wanted(arrival), 0.0, now)
        return first, choice.load


class ReportsAlone(Ours):
    """The same rule, without what was sent since the reports."""

    def _sent(self, name: str, arrival: Arrival, now: float) -> None:
        pass


POLICIES: dict[str, Callable[[Sequence[str]], Policy]] = {
    "ours": Ours,
    "round robin": RoundRobin,
    "least loaded": LeastLoaded,
    "hash of the model": ModelHash,
    "bounded hash": BoundedHash,
    "reports alone": ReportsAlone,
}


def wanted(arrival: Arrival) -> Wanted:
    """The request, for the rule."""
    model = arrival.model
    return Wanted(model.card.id, model.load_seconds, model.bytes, arrival.query)
