"""What a soak saw: requests sent, answered, left and lost; what the server took meanwhile; what is wrong with it."""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy

from benchmarks.resources import Usage, trend
from benchmarks.soak_kinds import KINDS
from benchmarks.soak_traffic import Kind

_WINDOWS = 60
"""In which a picture shows a run."""
_SHOWN_FAILURES = 30
_ACCESS = re.compile(r" rerank\.access \[(soak-\d+-\d+)\] ")
_QUIET = "models, metrics, readiness"
_GROWTH = 1.1
_SWAY = 5
_POOLS = 40
"""Threads and connections that pools take in use for the first time, while a short run is judged."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the server took at a moment."""

    second: float
    """Since the clients began."""
    usage: Usage
    models: float = 0.0
    """Megabytes of the models in memory, by the server's own count."""


@dataclass(slots=True)
class Record:
    """What was seen."""

    clients: int
    seconds: float
    began: float = 0.0
    ended: float = 0.0
    sent: Counter[str] = field(default_factory=Counter)
    """Requests, by kind."""
    left: Counter[str] = field(default_factory=Counter)
    """Those that the client left on purpose before it was answered."""
    statuses: dict[str, Counter[int]] = field(default_factory=dict)
    """Of the answers, by kind."""
    latencies: list[tuple[float, float]] = field(default_factory=list)
    """Of each answer: when it came, in seconds since the clients began, and how many seconds it took."""
    logged: set[str] = field(default_factory=set)
    """Ids of answered requests of which the server writes a line."""
    looks: list[Look] = field(default_factory=list)
    events: Counter[str] = field(default_factory=Counter)
    """How often models were loaded, unloaded, or failed to load, by the server's own count."""
    reloads: int = 0
    """How often the models file was to be read again."""
    wrong_files: int = 0
    """How often it was one that cannot be read."""
    kills: Counter[str] = field(default_factory=Counter)
    """How often each server that this one depends on was killed and started again."""
    failures: list[str] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Requests that were answered."""
        return sum(statuses.total() for statuses in self.statuses.values())

    @property
    def lost(self) -> int:
        """Requests that were neither answered nor left."""
        return self.sent.total() - self.answered - self.left.total()

    def answer(self, kind: Kind, request_id: str, status: int, began: float, seconds: float) -> None:
        """Note an answer."""
        self.statuses.setdefault(kind.name, Counter())[status] += 1
        self.latencies.append((began + seconds - self.began, seconds))
        if kind.name != _QUIET:
            self.logged.add(request_id)

    def lose(self, kind: Kind, request_id: str, why: str) -> None:
        """Note a request without an answer."""
        self.fail(kind, request_id, f"lost: {why}")

    def fail(self, kind: Kind, request_id: str, what: str) -> None:
        """Note what should not be."""
        self.failures.append(f"{request_id} ({kind.name}): {what}")


@dataclass(frozen=True, slots=True)
class Course:
    """How something moved while it was measured."""

    name: str
    first: float
    """Median of the first third."""
    last: float
    """Median of the last third."""
    most: float
    slope: float
    """Growth a minute."""
    error: float
    """Standard error of the slope."""

    def grown(self, sway: float = _SWAY) -> bool:
        """True if it is larger at the end by more than a tenth, and by more than it sways."""
        return self.last > max(self.first * _GROWTH, self.first + sway)


_MEMORY = "memory, MB"
_WITHOUT_MODELS = "memory without the models, MB"
_LONG_SECONDS = 240
Panels = dict[str, tuple[list[float], list[float]]]
"""Of each panel of a picture: minutes, and values at them."""
_MEASURES: dict[str, Callable[[Look], float]] = {
    _MEMORY: lambda look: look.usage.resident,
    _WITHOUT_MODELS: lambda look: look.usage.resident - look.models,
    "open files and connections": lambda look: look.usage.descriptors,
    "threads": lambda look: look.usage.threads,
}


def courses(looks: Sequence[Look]) -> list[Course]:
    """What the server took, after a sixth of the time in which what grows with use for the first time may grow."""
    measured = looks[len(looks) // 6 :]
    third = len(measured) // 3
    found = []
    for name, measure in _MEASURES.items():
        values = [measure(look) for look in measured]
        # one look is much like the next, which would make the line seem surer than it is
        line = trend(_thinned([look.second for look in measured], values, 20)).times(60)
        first, last = statistics.median(values[:third]), statistics.median(values[-third:])
        found.append(Course(name, first, last, max(values), line.slope, line.error))
    return found


def _thinned(seconds: Sequence[float], values: Sequence[float], most: int) -> list[tuple[float, float]]:
    """At most ``most`` points: the mean moment and value of each stretch."""
    stretches = min(most, len(values))
    return [
        (float(numpy.mean(moments)), float(numpy.mean(held)))
        for moments, held in zip(
            numpy.array_split(seconds, stretches), numpy.array_split(values, stretches), strict=True
        )
    ]


def log_objections(record: Record, log: str) -> list[str]:
    """What the server's log says that it should not, or does not say that it should."""
    lines = Counter(_ACCESS.findall(log))
    found = [f"{one}: the log tells of {count} requests with this id" for one, count in lines.items() if count > 1]
    found += [f"{one}: answered, but the log has no line of it" for one in sorted(record.logged - lines.keys())]
    if "Traceback" in log:
        found.append("the log holds a traceback")
    for text, times in (
        ("reloaded the models file", record.reloads),
        ("models and keys unchanged", record.wrong_files),
    ):
        if log.count(text) != times:
            found.append(f"{log.count(text)} log lines say {text!r}, {times} were to be expected")
    return found


def growth_objections(record: Record) -> list[str]:
    """What the server takes more and more of.

    Memory goes with the models that happen to be in it, so what is left without them is judged; and of that a short
    run, in which pools fill up, cannot tell.
    """
    unjudged, sway = ({_MEMORY}, _SWAY) if record.seconds >= _LONG_SECONDS else ({_MEMORY, _WITHOUT_MODELS}, _POOLS)
    judged = [one for one in courses(record.looks) if one.name not in unjudged]
    return [f"{one.name} grew from {one.first:.0f} to {one.last:.0f}" for one in judged if one.grown(sway)]


def report(record: Record) -> list[str]:
    """What was seen, in Markdown; then what is wrong."""
    minutes = (record.ended - record.began) / 60
    total, events = record.sent.total(), record.events
    lines = [
        f"{total} requests from {record.clients} clients in {minutes:.1f} minutes: {record.answered} answered, "
        f"{record.left.total()} left on purpose, {record.lost} lost, {len(record.failures)} failures. "
        f"{events['loaded']} loads, {events['unloaded']} unloads, {record.reloads} times a new models "
        f"file, {record.wrong_files} times a wrong one. Killed and started again: "
        f"{', '.join(f'{name} {times} times' for name, times in record.kills.items()) or 'nothing'}.",
        "",
        "| what is sent | requests | what may come of it | what came |",
        "|---|---|---|---|",
    ]
    lines += [f"| {kind.name} | {record.sent[kind.name]} | {kind.allowed} | {_came(record, kind)} |" for kind in KINDS]
    lines += ["", "| | first third | last third | most | a minute |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.name} | {one.first:.0f} | {one.last:.0f} | {one.most:.0f} | {one.slope:+.2f} ± {one.error:.2f} |"
        for one in courses(record.looks)
    ]
    return [*lines, "", *record.failures[:_SHOWN_FAILURES]]


def _came(record: Record, kind: Kind) -> str:
    statuses = sorted(record.statuses.get(kind.name, Counter()).items())
    parts = [f"{count} x {status}" for status, count in statuses]
    return ", ".join([*parts, *([f"{record.left[kind.name]} left"] if record.left[kind.name] else [])])


def draw(record: Record, file: Path) -> None:
    """The run as a picture."""
    seconds = [look.second for look in record.looks]
    panels: Panels = {}
    for name, measure in _MEASURES.items():
        points = _thinned(seconds, [measure(look) for look in record.looks], _WINDOWS)
        panels[name] = [second / 60 for second, _ in points], [value for _, value in points]
    middles, rates, slowest = _windows(record)
    panels["answers a second"] = middles, rates
    panels["seconds within which 99 of 100 answers came"] = middles, slowest
    _draw_panels(panels, file)


def _draw_panels(panels: Panels, file: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 10), layout="constrained")
    for axes, (name, (minutes, values)) in zip(figure.subplots(len(panels), sharex=True), panels.items(), strict=True):
        axes.plot(minutes, values)
        axes.set_ylim(0, None)
        axes.set_title(name, loc="left", fontsize="medium")
        axes.grid(alpha=0.3)
    axes.set_xlabel("minutes")
    figure.savefig(file)


def _windows(record: Record) -> tuple[list[float], list[float], list[float]]:
    """Minutes, answers a second, and the 99th percentile of their seconds, window by window."""
    width = (record.ended - record.began) / _WINDOWS
    windows: list[list[float]] = [[] for _ in range(_WINDOWS)]
    for moment, seconds in record.latencies:
        windows[min(int(moment / width), _WINDOWS - 1)].append(seconds)
    middles = [(place + 0.5) * width / 60 for place in range(_WINDOWS)]
    slowest = [float(numpy.percentile(window, 99)) if window else float("nan") for window in windows]
    return middles, [len(window) / width for window in windows], slowest
