"""Which devices still get on with their work. Pure: whoever asks tells the time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_UNWATCHED = 10.0
"""Seconds between two looks after which the whole process must have stood still, and the devices with it."""


@dataclass(slots=True)
class _Device:
    name: str
    began: float | None = None
    """When it took up the batch it is at; None while it rests."""
    stuck: bool = False
    lost: str | None = None
    """Why it takes no work any more."""


class Health:
    """What each device is at. One that is stuck may come back; one that is lost does not."""

    def __init__(self, names: Sequence[str], patience: float = math.inf) -> None:
        """``patience``: seconds after which a device that is still at the same batch counts as stuck."""
        self._devices = [_Device(name) for name in names]
        self._patience = patience
        self._looked: float | None = None

    def begin(self, device: int, now: float) -> None:
        """The device takes up a batch."""
        self._devices[device].began = now

    def rest(self, device: int) -> None:
        """The device is done with its batches."""
        self._devices[device].began = None

    def lose(self, device: int, why: str) -> None:
        """The device takes no work any more; of several reasons the first counts."""
        self._devices[device].lost = self._devices[device].lost or why

    def is_lost(self, device: int) -> bool:
        """True if the device takes no work any more."""
        return self._devices[device].lost is not None

    def look(self, now: float) -> dict[str, bool]:
        """See which devices are stuck: names of those of which that is news, and whether they are."""
        self._leave_out_standstill(now)
        news = {}
        for device in self._devices:
            stuck = device.began is not None and now - device.began > self._patience
            if stuck != device.stuck and device.lost is None:
                device.stuck = news[device.name] = stuck
        return news

    @property
    def all_busy(self) -> bool:
        """True if each device that takes work is at a batch."""
        return all(device.began is not None for device in self._devices if device.lost is None)

    @property
    def trouble(self) -> str | None:
        """Why nothing is scored any more; None while some device works."""
        reasons = [self._reason(device) for device in self._devices]
        return None if None in reasons else "; ".join(dict.fromkeys(filter(None, reasons)))

    def working(self) -> dict[str, bool]:
        """For each device, by name, whether it works."""
        return {device.name: self._reason(device) is None for device in self._devices}

    def _reason(self, device: _Device) -> str | None:
        if device.stuck and device.lost is None:
            return f"{device.name} has been at one batch for more than {self._patience:g} s"
        return device.lost

    def _leave_out_standstill(self, now: float) -> None:
        gap = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        if gap > _UNWATCHED:
            for device in self._devices:
                device.began = None if device.began is None else min(now, device.began + gap)
