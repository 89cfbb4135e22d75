"""The replicas as a router of this process sees them, shared with the ingress that asks it.

Ray copies a router's module into the process, but not this one: there is one desk per process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from rerank.cluster.outlook import Outlook
from rerank.cluster.reports import replica_of
from rerank.cluster.routing import Choice, Wanted, choose
from rerank.cluster.wishes import Wish

_LOAD_SECONDS = 20.0
"""Of a model that no replica has loaded yet."""


def _ignore(replica: str, model: str) -> None:
    del replica, model


class Desk:
    """Orders replicas for wishes. Used on a router's thread; ``names`` may be read from any."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """``clock``: of the replicas' reports, which may come from other machines."""
        self._clock = clock
        self._outlook = Outlook()
        self._rates: dict[str, float] = {}
        self._load_seconds: dict[str, float] = {}
        self.names: tuple[str, ...] = ()
        """Replicas that take requests."""
        self.load: Callable[[str, str], None] = _ignore
        """Has a replica load a model ahead of requests for it."""

    def report(self, reports: Mapping[str, Mapping[str, Any]]) -> None:
        """Take the reports of all replicas; that of one that has just started is empty."""
        for name in set(self.names) - set(reports):
            self._outlook.forget(name)
            self._rates.pop(name, None)
        self.names = tuple(sorted(reports))
        for name, report in reports.items():
            try:
                self._take(name, report)
            except (KeyError, TypeError):
                # of another version, during an update: the replica is asked, but nothing is known of it
                self._outlook.forget(name)

    def _take(self, name: str, report: Mapping[str, Any]) -> None:
        if not report:
            return
        self._outlook.report(replica_of(name, report))
        self._load_seconds |= report["load_seconds"]
        if rate := report["tokens_per_second"]:
            self._rates[name] = rate

    def order(self, wish: Wish, names: Collection[str]) -> Sequence[str]:
        """The replicas of these names, the best for the wish first; those that it was sent to come last."""
        if wish.only in names:
            return [str(wish.only)]
        fresh = [name for name in names if name not in wish.tried] or list(names)
        ranked = [name for name in self._choice(wish).order if name in fresh]
        # one that has not reported yet is idle, but may be about to load what it starts with
        return [*ranked, *(name for name in fresh if name not in ranked)]

    def sent(self, wish: Wish, name: str) -> None:
        """Note that a replica has taken a request."""
        wish.tried.append(name)
        if wish.model is None or wish.only:
            return
        choice = self._choice(wish)
        wanted, now = self._wanted(wish), self._clock()
        if choice.load and choice.load != name:
            self._outlook.sent(choice.load, wanted, 0.0, now)
            self.load(choice.load, wish.model)
        rate = self._rates.get(name)
        self._outlook.sent(name, wanted, wish.tokens / rate if rate else 0.0, now)

    def _choice(self, wish: Wish) -> Choice:
        return choose(self._outlook.replicas(), self._wanted(wish), self._clock())

    def _wanted(self, wish: Wish) -> Wanted:
        model = wish.model or ""
        seconds = self._load_seconds.get(model, _LOAD_SECONDS) if wish.bytes else 0.0
        return Wanted(model, seconds, wish.bytes, wish.affinity)


DESK = Desk()
