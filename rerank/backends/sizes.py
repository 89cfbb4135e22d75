"""How much memory a model will take, read from the headers of its weights before a byte of them is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

from rerank.catalog.checkpoint import Checkpoint
from rerank.devices import Device

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header."""
_OVERHEAD = 1.25
"""What a loaded model takes beside its weights, as measured; with its first batches, without larger ones."""


def estimate(checkpoint: Checkpoint, devices: Iterable[Device]) -> dict[str, int]:
    """Bytes the model will take on each device, about."""
    values = parameters(checkpoint.weight_files)
    return {device.name: int(_OVERHEAD * weights_on(values, device)) for device in devices}


def parameters(weight_files: Iterable[Path]) -> int:
    """Numbers in the weights, by the headers of their files."""
    return sum(
        math.prod(tensor["shape"])
        for file in weight_files
        for name, tensor in _header(file).items()
        if name != "__metadata__"
    )


def weights_on(values: int, device: Device) -> int:
    """Bytes that so many parameters take in the precision they have in a device's memory."""
    if device.openvino and device.precision != "int8":
        # the converted network is kept in fp32, whatever it is computed in
        return values * _BYTES["fp32"]
    return values * _BYTES[device.precision]


def _header(file: Path) -> dict[str, dict[str, list[int]]]:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        header: dict[str, dict[str, list[int]]] = json.loads(stream.read(length))
    return header
