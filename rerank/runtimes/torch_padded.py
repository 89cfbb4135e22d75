"""Plain torch, for any network."""

from __future__ import annotations

import numpy
import torch

from rerank.devices import Device
from rerank.runtimes.base import Inputs, MakeNetwork, Values, computed


class TorchRuntime:
    """A torch module on its device."""

    def __init__(self, make_network: MakeNetwork, device: Device) -> None:
        self.device = device.name
        self.precision = device.torch_precision
        self.description = f"torch {device.torch_precision}"
        self._dtype = device.dtype
        self._network = make_network(device.dtype).to(device.name).eval()

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> tuple[Values, ...]:
        """See ``Runtime``."""
        outputs = self._network(**{name: self._input(values) for name, values in inputs.items()})
        return tuple(computed(output) for output in outputs)

    def _input(self, values: Values) -> torch.Tensor:
        """On the device; fractions in the network's precision, whole numbers as they are."""
        tensor = torch.from_numpy(values) if isinstance(values, numpy.ndarray) else values
        return tensor.to(self.device, self._dtype if tensor.is_floating_point() else tensor.dtype)
