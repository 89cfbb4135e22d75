"""What a router expects of its replicas: their last reports, and what it sent since. Pure: the caller passes the time.

Reports are up to a second old. Without what was sent since, all requests of that second would meet the same replica.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rerank.cluster.routing import Held, Replica, Wanted

_REMEMBERED = 10_000
"""Requests per replica since its last report; one that reports no more is not to take memory for ever."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """A request, or a load alone."""

    at: float
    wanted: Wanted
    seconds: float


class Outlook:
    """The replicas as they probably are."""

    def __init__(self) -> None:
        self._expected: dict[str, Replica] = {}
        self._sent: dict[str, deque[_Sent]] = {}
        """What may not be in the last report, per replica."""

    def report(self, replica: Replica) -> None:
        """Take a report. ``Replica.at``: when it was asked for; what was sent later counts as not in it."""
        later = [sent for sent in self._sent.get(replica.name, ()) if sent.at >= replica.at]
        self._sent[replica.name] = deque(later, _REMEMBERED)
        for sent in later:
            replica = _after(replica, sent)
        self._expected[replica.name] = replica

    def forget(self, name: str) -> None:
        """Forget a replica that is gone."""
        self._expected.pop(name, None)
        self._sent.pop(name, None)

    def sent(self, name: str, wanted: Wanted, seconds: float, now: float) -> None:
        """Note a request. ``seconds``: its work; 0 for one that only loads. Unknown replicas are ignored."""
        if name in self._expected:
            sent = _Sent(now, wanted, seconds)
            self._sent[name].append(sent)
            self._expected[name] = _after(self._expected[name], sent)

    def replicas(self) -> tuple[Replica, ...]:
        """All replicas that reported, each as of ``Replica.at``."""
        return tuple(self._expected.values())


def _after(replica: Replica, sent: _Sent) -> Replica:
    """The replica after it was sent something."""
    wanted = sent.wanted
    models = _loaded_on(replica.models, sent.at - replica.at)
    held = models.get(wanted.model)
    new = held is None
    held = held or Held(wanted.load_seconds, loading=True, bytes=wanted.bytes)
    models[wanted.model] = replace(held, backlog_seconds=held.backlog_seconds + sent.seconds, idle_seconds=0.0)
    scores = max(0.0, replica.backlog_seconds - replica.loading_seconds - max(0.0, sent.at - replica.at))
    loads = sum(each.backlog_seconds for each in models.values() if each.loading)
    return replace(
        replica,
        models=models,
        backlog_seconds=scores + loads + (0.0 if held.loading else sent.seconds),
        free_bytes=max(0, replica.free_bytes - wanted.bytes) if new else replica.free_bytes,
        at=max(replica.at, sent.at),
    )


def _loaded_on(models: Mapping[str, Held], seconds: float) -> dict[str, Held]:
    """The models after ``seconds`` of loading, one after another."""
    left = max(0.0, seconds)
    found = {}
    for name, held in models.items():
        done = min(left, held.backlog_seconds) if held.loading else 0.0
        left -= done
        found[name] = replace(held, backlog_seconds=held.backlog_seconds - done) if done else held
    return found
