"""Routing: the replica that a request goes to. Pure: no clock, no network, no Ray.

A request goes to the replica that has its model in memory and the least to do. If all that have it are further behind
than the model takes to load, one more loads it: the one with the most room. Where that evicts nothing, as many may
load at the same time as have it in memory: a burst asks for one copy, and a large cluster soon has its tenth.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

SLACK_SECONDS = 0.02
"""Replicas whose waits differ by less count as equally near; equal requests then meet the same one."""
AHEAD = 0.05
"""Share of a model's load time at which a copy is loaded ahead, if that evicts nothing."""


@dataclass(frozen=True, slots=True)
class Held:
    """A model that a replica has in memory, or loads."""

    backlog_seconds: float = 0.0
    """Of its waiting pairs; while it loads, what is left of the load included."""
    loading: bool = False
    bytes: int = 0
    idle_seconds: float = 0.0
    """Since its last request."""
    pinned: bool = False


@dataclass(frozen=True)
class Replica:
    """What is known of a replica."""

    name: str
    models: Mapping[str, Held] = field(default_factory=dict)
    """Those in memory and those that load."""
    backlog_seconds: float = 0.0
    """Of all its models together, loads included."""
    free_bytes: int = 0
    """Of its memory budget."""
    budget_bytes: int | None = None
    """All that models may take; None if that is not known."""
    draining: bool = False
    """True if it takes no new requests."""
    at: float = 0.0
    """When all this was so; it has worked since."""

    @cached_property
    def loading_seconds(self) -> float:
        """The part of its backlog that is before models which load."""
        return sum(held.backlog_seconds for held in self.models.values() if held.loading)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The model of a request."""

    model: str
    load_seconds: float
    bytes: int
    affinity: str = ""
    """The same for requests that had better meet the same replica: a hash of the query, for its cache."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a request goes."""

    order: tuple[str, ...]
    """All replicas: the next one is tried where one cannot be reached. Draining ones are last."""
    load: str | None = None
    """The replica that is to load the model now; not always the first of the order."""


_Near = tuple[float, Replica]
"""A replica, with the expected wait there."""


def choose(replicas: Iterable[Replica], wanted: Wanted, now: float = 0.0) -> Choice:
    """The replicas for a request, the best first, whatever the order of ``replicas``.

    ``now``: of the clock of ``Replica.at``.
    """
    near = sorted(((_wait(replica, wanted, now), replica) for replica in replicas), key=_by(wanted))
    names = tuple(replica.name for _, replica in near)
    staying = [(wait, replica) for wait, replica in near if not replica.draining]
    if not staying:
        return Choice(names)
    first, load = _first(staying, wanted)
    return Choice((first, *(name for name in names if name != first)), load)


def _by(wanted: Wanted) -> Callable[[_Near], tuple[bool, bool, float, str]]:
    """Replicas that are left at last are those that drain, and those that the model never fits."""
    return lambda near: (near[1].draining, not _fits(near[1], wanted), near[0], near[1].name)


def _first(staying: Sequence[_Near], wanted: Wanted) -> tuple[str, str | None]:
    """The replica to ask, and the one that is to load the model."""
    having = [(wait, replica) for wait, replica in staying if wanted.model in replica.models]
    lacking = [(wait, replica) for wait, replica in staying if wanted.model not in replica.models]
    if not having:
        name = _roomiest(lacking, wanted)[1].name
        return name, name
    least, nearest = _nearest(having, wanted)
    loading = sum(replica.models[wanted.model].loading for _, replica in having)
    enough = loading >= max(1, len(having) - loading)
    if not lacking or enough or least <= wanted.load_seconds * AHEAD:
        return nearest.name, None
    wait, roomiest = _roomiest(lacking, wanted)
    late = least > wanted.load_seconds
    cost = _eviction_cost(roomiest, wanted)
    if cost == math.inf or (cost and (loading or not late)):
        return nearest.name, None
    spills = late and wait < least
    return (roomiest if spills else nearest).name, roomiest.name


def _nearest(having: Sequence[_Near], wanted: Wanted) -> _Near:
    """The replica with the least wait; of those that hardly differ, the one that equal requests meet."""
    least = min(wait for wait, _ in having)
    close = [replica for wait, replica in having if wait <= least + SLACK_SECONDS]
    return least, max(close, key=lambda replica: _weight(replica, wanted)) if len(close) > 1 else close[0]


def _roomiest(lacking: Sequence[_Near], wanted: Wanted) -> _Near:
    """The replica that the model is best loaded on."""
    return min(
        lacking,
        key=lambda near: (
            not _fits(near[1], wanted),
            _eviction_cost(near[1], wanted),
            -near[1].free_bytes,
            near[0],
            near[1].name,
        ),
    )


def _fits(replica: Replica, wanted: Wanted) -> bool:
    return replica.budget_bytes is None or wanted.bytes <= replica.budget_bytes


def _eviction_cost(replica: Replica, wanted: Wanted) -> float:
    """Bytes per second that will be loaded again if the replica evicts for the model: idle ones first.

    Infinite where it cannot make room; 0 where memory has no limit.
    """
    if replica.budget_bytes is None:
        return 0.0
    missing = wanted.bytes - replica.free_bytes
    cost = 0.0
    going = sorted(
        (held for held in replica.models.values() if not held.pinned and not held.loading),
        key=lambda held: (held.backlog_seconds > 0, -held.idle_seconds),
    )
    for held in going:
        if missing <= 0:
            break
        missing -= held.bytes
        cost += held.bytes / (1 + held.idle_seconds)
    return cost if missing <= 0 else math.inf


def _wait(replica: Replica, wanted: Wanted, now: float) -> float:
    """Expected seconds until the replica begins with the request. It scores while it loads; loads take turns."""
    age = max(0.0, now - replica.at)
    scores = max(0.0, replica.backlog_seconds - replica.loading_seconds - age)
    held = replica.models.get(wanted.model)
    if held is None:
        return max(scores, max(0.0, replica.loading_seconds - age) + wanted.load_seconds)
    return max(scores, held.backlog_seconds - age) if held.loading else scores


def _weight(replica: Replica, wanted: Wanted) -> bytes:
    """Rendezvous hashing: a replica's weight for equal requests does not depend on which others there are."""
    text = "\0".join((wanted.affinity, wanted.model, replica.name))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
