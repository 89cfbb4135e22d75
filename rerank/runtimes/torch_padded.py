"""Plain torch: the padded batch as the reference implementations run it."""

from __future__ import annotations

import torch
from torch import nn

from rerank.devices import Device
from rerank.runtimes.base import Tensors


class TorchRuntime:
    """A torch module on its device."""

    def __init__(self, network: nn.Module, device: Device) -> None:
        self.device = device.name
        self.description = f"torch {device.precision}, padded"
        self._network = network.to(device.name, device.dtype).eval()

    @torch.inference_mode()
    def __call__(self, tensors: Tensors) -> torch.Tensor:
        """See ``Runtime``."""
        vectors: torch.Tensor = self._network(**{name: tensor.to(self.device) for name, tensor in tensors.items()})
        return vectors.float()
