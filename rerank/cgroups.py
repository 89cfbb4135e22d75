"""Limits that a container sets on this process: memory and cores, from Linux control groups (versions 1 and 2)."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")

_ROOT = Path("/sys/fs/cgroup")
_MEMBERSHIPS = Path("/proc/self/cgroup")


def memory_left(root: Path = _ROOT, memberships: Path = _MEMBERSHIPS) -> int | None:
    """Bytes until the tightest limit of the process's groups; None without a limit."""
    return min(_told(_memory_left, _groups("memory", root, memberships)), default=None)


def cores(root: Path = _ROOT, memberships: Path = _MEMBERSHIPS) -> int:
    """Cores that the process can keep busy: its affinity, or the smallest quota of its groups, rounded up."""
    quotas = _told(_quota, _groups("cpu", root, memberships))
    return max(1, math.ceil(min([host_cores(), *quotas])))


def host_cores() -> int:
    """Cores that the process may run on, whatever share of them it gets."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Group(NamedTuple):
    """One control group, as far as one controller goes."""

    folder: Path
    v1: bool


def _memory_left(group: _Group) -> int | None:
    names = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        if group.v1
        else ("memory.max", "memory.current", "inactive_file")
    )
    limit, used = ((group.folder / name).read_text().strip() for name in names[:2])
    if limit == "max":
        return None
    counters = dict(line.split() for line in (group.folder / "memory.stat").read_text().splitlines())
    # files that were read and are no longer in use count as used, but give way when memory is needed
    return max(0, int(limit) - int(used) + int(counters.get(names[2], 0)))


def _quota(group: _Group) -> float | None:
    if group.v1:
        quota, period = ((group.folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
    else:
        quota, period = (group.folder / "cpu.max").read_text().split()
    # without a quota version 2 says max, version 1 -1
    return None if quota == "max" or int(quota) <= 0 else int(quota) / int(period)


def _told(read: Callable[[_Group], T | None], groups: Iterable[_Group]) -> Iterator[T]:
    """What the groups say; one that is not mounted, has no such controller or is not understood says nothing."""
    for group in groups:
        try:
            told = read(group)
        except (OSError, ValueError, ZeroDivisionError):
            continue
        if told is not None:
            yield told


@cache
def _groups(controller: str, root: Path, memberships: Path) -> tuple[_Group, ...]:
    """The process's group and those it is nested in: each has limits of its own, and all of them hold."""
    try:
        lines = [line.split(":", 2) for line in memberships.read_text().splitlines()]
    except OSError:
        return ()
    return tuple(
        _Group(folder, v1=bool(controllers))
        for _, controllers, path in lines
        if not controllers or controller in controllers.split(",")
        for folder in _nested(_mount(root, controllers, controller), path)
    )


def _mount(root: Path, controllers: str, controller: str) -> Path:
    """Where the hierarchy is mounted: version 1 has one for each set of controllers, version 2 one for all."""
    if not controllers:
        return root
    together = root / controllers
    return together if together.is_dir() else root / controller


def _nested(mount: Path, path: str) -> Iterator[Path]:
    """The group's folder and its parents'. Inside a container its own files are often mounted at the root."""
    folder = mount / path.lstrip("/")
    yield from (place for place in (folder, *folder.parents) if place.is_relative_to(mount))
