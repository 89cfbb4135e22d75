"""Device liveness. Pure: the caller passes the current time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_UNWATCHED = 10.0
"""Seconds between two calls of ``look`` that mean that the whole process was suspended, devices included."""


@dataclass(slots=True)
class _Device:
    name: str
    began: float | None = None
    """When its current batch began; None while it is idle."""
    stuck: bool = False
    lost: str | None = None
    """Why it takes no more work."""


class Health:
    """State of each device. A stuck device may recover; a lost one does not."""

    def __init__(self, names: Sequence[str], patience: float = math.inf) -> None:
        """``patience``: seconds after which a device with an unfinished batch counts as stuck."""
        self._devices = [_Device(name) for name in names]
        self._patience = patience
        self._looked: float | None = None

    def begin(self, device: int, now: float) -> None:
        """The device begins a batch."""
        self._devices[device].began = now

    def rest(self, device: int) -> None:
        """The device has finished its batches."""
        self._devices[device].began = None

    def lose(self, device: int, why: str) -> None:
        """The device takes no more work; the first reason counts."""
        self._devices[device].lost = self._devices[device].lost or why

    def is_lost(self, device: int) -> bool:
        """True if the device takes no more work."""
        return self._devices[device].lost is not None

    def look(self, now: float) -> dict[str, bool]:
        """Devices that became stuck (True) or recovered (False) since the last call, by name."""
        self._leave_out_suspension(now)
        news = {}
        for device in self._devices:
            stuck = device.began is not None and now - device.began > self._patience
            if stuck != device.stuck and device.lost is None:
                device.stuck = news[device.name] = stuck
        return news

    @property
    def all_busy(self) -> bool:
        """True if each device that takes work has a batch."""
        return all(device.began is not None for device in self._devices if device.lost is None)

    @property
    def trouble(self) -> str | None:
        """The reason why nothing can be scored; None while a device works."""
        reasons = [self._reason(device) for device in self._devices]
        return None if None in reasons else "; ".join(dict.fromkeys(filter(None, reasons)))

    def working(self) -> dict[str, bool]:
        """Whether each device works, by name."""
        return {device.name: self._reason(device) is None for device in self._devices}

    def _reason(self, device: _Device) -> str | None:
        if device.stuck and device.lost is None:
            return f"{device.name} is stuck: its batch has run for more than {self._patience:g} s"
        return device.lost

    def _leave_out_suspension(self, now: float) -> None:
        gap = 0.0 if self._looked is None else now - self._looked
        self._looked = now
        if gap > _UNWATCHED:
            for device in self._devices:
                device.began = None if device.began is None else min(now, device.began + gap)
