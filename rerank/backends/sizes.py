"""Estimated memory of a model, before its weights are loaded."""

from __future__ import annotations

from collections.abc import Iterable

from rerank.devices import Device

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
_BESIDE = 80_000_000
"""Bytes that the first batches and the libraries keep: measured equal for 23 and 596 million parameters."""


def estimate(values: int, devices: Iterable[Device]) -> dict[str, int]:
    """Estimated bytes of a model with ``values`` parameters on each device; rather too high than too low.

    OpenVINO makes a second copy of the weights of products, next to the converted network. Measured, a fp32 network
    takes 1.6 times its weights if most of them are embeddings, otherwise up to 2.1 times; in torch it takes them once.
    """
    return {device.name: _BESIDE + weights_on(values, device) + _laid_out(values, device) for device in devices}


def _laid_out(values: int, device: Device) -> int:
    return values * _BYTES[device.precision] if device.openvino else 0


def weights_on(values: int, device: Device) -> int:
    """Bytes of one copy of ``values`` parameters, in the precision that the device keeps them in."""
    if device.openvino and device.precision != "int8":
        # the converted network is kept in fp32, whatever it is computed in
        return values * _BYTES["fp32"]
    return values * _BYTES[device.precision]
