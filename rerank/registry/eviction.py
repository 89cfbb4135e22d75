"""Who has to leave memory so that another model can come in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Size = Mapping[str, int]
"""Bytes on each device."""


@dataclass(frozen=True, slots=True)
class Resident:
    """A model that takes memory, as far as eviction cares."""

    id: str
    size: Size
    last_used: float
    busy: bool = False
    """True while somebody's work runs on it."""
    pinned: bool = False
    leaving: bool = False
    """True once it has been told to go; its memory is still taken."""


@dataclass(frozen=True, slots=True)
class Fits:
    """There is room now."""


@dataclass(frozen=True, slots=True)
class AfterLeaving:
    """There will be room once these, and those that are leaving already, are gone."""

    evict: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Never:
    """There will be no room, whoever leaves."""

    device: str
    needed: int
    available: int
    """Bytes the budget leaves beside the pinned models."""
    pinned: tuple[str, ...]
    """The pinned models that take room on the device."""


Room = Fits | AfterLeaving | Never


def make_room(needed: Size, budget: Size, residents: Sequence[Resident]) -> Room:
    """How a model that needs so much can come in. A device without a budget has room for everything.

    Idle models go before busy ones, and of each the one that was used longest ago goes first; nobody goes whose leaving
    does not help. Pinned models stay.
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
    """Idle models that should go because the residents take more than the budget."""
    staying = [resident for resident in residents if not resident.leaving]
    fixed = [resident for resident in staying if resident.busy or resident.pinned]
    movable = [resident for resident in staying if not resident.busy and not resident.pinned]
    # what the busy ones take beyond the budget cannot be had back by evicting idle ones
    reachable = {device: max(limit, taken(fixed, device)) for device, limit in budget.items()}
    return _victims({}, reachable, [*fixed, *movable])


def taken(residents: Iterable[Resident], device: str) -> int:
    """Bytes the models take on a device."""
    return sum(resident.size.get(device, 0) for resident in residents)


def _full_device(needed: Size, budget: Size, residents: Sequence[Resident]) -> str | None:
    for device, limit in budget.items():
        if needed.get(device, 0) + taken(residents, device) > limit:
            return device
    return None


def _victims(needed: Size, budget: Size, staying: Sequence[Resident]) -> tuple[str, ...]:
    """The evictable models to go, in the order they should; the caller knows that it is enough if all go."""
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
