"""Eviction: the models to unload so that another one fits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Size = Mapping[str, int]
"""Bytes on each device."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A model in memory, for eviction."""

    id: str
    size: Size
    last_used: float
    busy: bool = False
    """True while requests use it."""
    pinned: bool = False
    leaving: bool = False
    """True while it drains or is unloaded; its memory is still used."""


@dataclass(frozen=True, slots=True)
class Fits:
    """It fits now."""


@dataclass(frozen=True, slots=True)
class AfterLeaving:
    """It fits once these models, and those already leaving, are unloaded."""

    evict: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Never:
    """It does not fit, whatever is unloaded."""

    device: str
    needed: int
    available: int
    """Bytes that the pinned models leave of the budget."""
    pinned: tuple[str, ...]
    """The pinned models on the device."""


Room = Fits | AfterLeaving | Never


def make_room(needed: Size, budget: Size, residents: Sequence[Resident]) -> Room:
    """Whether a model of this size fits, and what to evict for it. A device without a budget has no limit.

    Idle models are evicted before busy ones, and the least recently used first; no model is evicted that does not help.
    Pinned models stay.
    """
    staying = [resident for resident in residents if not resident.leaving]
    pinned = [resident for resident in staying if resident.pinned]
    if full := _full_device(needed, budget, pinned):
        names = tuple(resident.id for resident in pinned if resident.size.get(full))
        return Never(full, needed[full], budget[full] - taken(pinned, full), names)
    if _full_device(needed, budget, residents) is None:
        return Fits()
    return AfterLeaving(_victims(needed, budget, staying))


def overfull(budget: Size, residents: Sequence[Resident]) -> tuple[str, ...]:
    """Idle models to evict because the residents exceed the budget."""
    staying = [resident for resident in residents if not resident.leaving]
    fixed = [resident for resident in staying if resident.busy or resident.pinned]
    movable = [resident for resident in staying if not resident.busy and not resident.pinned]
    # evicting idle models cannot free what busy ones take beyond the budget
    reachable = {device: max(limit, taken(fixed, device)) for device, limit in budget.items()}
    return _victims({}, reachable, [*fixed, *movable])


def taken(residents: Iterable[Resident], device: str) -> int:
    """Bytes of the models on a device."""
    return sum(resident.size.get(device, 0) for resident in residents)


def _full_device(needed: Size, budget: Size, residents: Sequence[Resident]) -> str | None:
    for device, limit in budget.items():
        if needed.get(device, 0) + taken(residents, device) > limit:
            return device
    return None


def _victims(needed: Size, budget: Size, staying: Sequence[Resident]) -> tuple[str, ...]:
    """The models to evict, in order. Evicting all evictable ones is known to suffice."""
    candidates = sorted(
        (resident for resident in staying if not resident.pinned),
        key=lambda resident: (resident.busy, resident.last_used),
    )
    rest = list(staying)
    going: list[Resident] = []
    for candidate in candidates:
        if _full_device(needed, budget, rest) is None:
            break
        rest.remove(candidate)
        going.append(candidate)
    for victim in reversed(going.copy()):
        if _full_device(needed, budget, [*rest, victim]) is None:
            rest.append(victim)
            going.remove(victim)
    return tuple(victim.id for victim in going)
