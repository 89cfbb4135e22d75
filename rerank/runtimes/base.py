"""What a scorer asks of whatever runs its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from torch import nn

Tensors = Mapping[str, torch.Tensor]


class Runtime(Protocol):
    """One network, ready to run. To be called only from the thread that owns the device."""

    @property
    def device(self) -> str:
        """Where inputs are expected and outputs appear, as torch names it."""
        ...

    @property
    def description(self) -> str:
        """For people: library, precision, kernel."""
        ...

    def __call__(self, tensors: Tensors) -> torch.Tensor:
        """Padded int64 inputs of shape (pairs, tokens) by name, to fp32 vectors of shape (pairs, hidden)."""
        ...


MakeNetwork = Callable[[], nn.Module]
"""Builds the torch module in fp32 on the CPU; not called where a converted copy is on disk."""
