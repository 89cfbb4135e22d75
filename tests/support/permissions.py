"""Permissions that count for root, too, so that tests of folders that may not be read pass as any user."""

from __future__ import annotations

import ctypes
import os

_CAPABILITY_DROP, _DAC_OVERRIDE, _DAC_READ_SEARCH = 24, 1, 2
"""Numbers of Linux."""


def bound_by_permissions() -> None:
    """Have root's process see no more than the owner may: it loses the capabilities to pass over permissions."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            assert libc.prctl(_CAPABILITY_DROP, capability, 0, 0, 0) == 0
