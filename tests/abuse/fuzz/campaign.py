"""Every kind of made-up request in turn, until there have been enough of them or the time is over."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import requests

from benchmarks.resources import usage
from benchmarks.soak_record import Course, Look, courses
from tests.abuse.fuzz.bodies import bodies, embeddings, pages
from tests.abuse.fuzz.documented import documented
from tests.abuse.fuzz.judge import Note, Objection
from tests.abuse.fuzz.target import KEY, Target
from tests.abuse.fuzz.wire import headers, wire

Fuzzer = Callable[[Target, int, int, Note], None]
KINDS: dict[str, Fuzzer] = {
    "documented": documented,
    "bodies": bodies,
    "embeddings": embeddings,
    "pages": pages,
    "headers": headers,
    "wire": wire,
}
_SHARES = {"documented": 1, "bodies": 3, "embeddings": 1, "pages": 1, "headers": 1, "wire": 3}
"""Of ten cases."""
_ROUND = 2000
"""Cases of all kinds together, each kind once."""
_WARM_ROUNDS = 12
"""Looks that are too few to judge growth by."""
_MOST_FAILURES = 20
_MOST_SAMPLES = 5000
"""Lines of /metrics; more means that callers make up labels."""


@dataclass(slots=True)
class Tally:
    """What was sent to one server, and what came of it."""

    cases: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    seconds: float = 0.0

    def note(self, kind: str, *statuses: int) -> None:
        """A case of a kind, answered so."""
        self.cases[kind] += 1
        self.statuses.setdefault(kind, Counter()).update(statuses)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much, for how long, and from which seed."""

    cases: int
    seconds: float
    seed: int


def campaign(target: Target, plan: Plan) -> Tally:
    """Fuzz one server."""
    tally, began = Tally(), time.monotonic()
    for kind, seed, cases in _rounds(plan):
        left = plan.cases - tally.cases.total()
        if left <= 0 or time.monotonic() - began > plan.seconds or len(tally.failures) >= _MOST_FAILURES:
            break
        if not _round(target, kind, seed, min(cases, left), tally):
            break
        tally.looks.append(Look(time.monotonic() - began, usage(target.pid)))
    tally.seconds = time.monotonic() - began
    tally.failures += [*_left_behind(target), *growth(tally)]
    return tally


def _rounds(plan: Plan) -> Iterator[tuple[str, int, int]]:
    """Kinds in turn without end, by their shares; a seed and a number of cases for each."""
    for seed in count(plan.seed):
        for kind, share in _SHARES.items():
            yield kind, seed, max(1, min(_ROUND, plan.cases) * share // sum(_SHARES.values()))


def _round(target: Target, kind: str, seed: int, cases: int, tally: Tally) -> bool:
    """Send the cases; whether the server still serves afterwards."""
    where = f"{kind}, seed {seed}, {'with' if target.guarded else 'without'} keys"
    try:
        KINDS[kind](target, seed, cases, lambda *statuses: tally.note(kind, *statuses))
    except Objection as objection:
        tally.failures.append(f"{where}: {objection}")
    trouble = target.trouble()
    if trouble:
        tally.failures.append(f"{where}: afterwards {trouble}")
    return not trouble


def _left_behind(target: Target) -> list[str]:
    headers = {"Authorization": f"Bearer {KEY}"}
    load = requests.get(f"{target.url}/load", headers=headers, timeout=30).json()["server_load"]
    samples = len(requests.get(f"{target.url}/metrics", headers=headers, timeout=30).text.splitlines())
    found = [f"{load} requests are still in flight once all is over"] if load else []
    return found + ([f"/metrics has {samples} lines"] if samples > _MOST_SAMPLES else [])


def growth(tally: Tally) -> list[str]:
    """What the server takes more and more of; a short run cannot tell."""
    if len(tally.looks) < _WARM_ROUNDS:
        return []
    return [f"{one.name} grew from {one.first:.0f} to {one.last:.0f}" for one in _courses(tally) if one.grown()]


def _courses(tally: Tally) -> list[Course]:
    """How memory, open files and threads moved, each once: the models in memory are always the same few."""
    return [one for one in courses(tally.looks) if "without the models" not in one.name]


def report(tally: Tally) -> list[str]:
    """What was sent and what came, a line for each kind; then what the server took."""
    lines = [
        f"  {kind:<11}{tally.cases[kind]:>8} cases: "
        + ", ".join(f"{number} x {status}" for status, number in sorted(tally.statuses.get(kind, Counter()).items()))
        for kind in KINDS
    ]
    if len(tally.looks) >= _WARM_ROUNDS:
        lines += [
            f"  {one.name}: {one.first:.0f} in the first third, {one.last:.0f} in the last, {one.most:.0f} at most"
            for one in _courses(tally)
        ]
    return lines
