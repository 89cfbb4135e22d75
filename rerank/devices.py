"""What the machine has: which device to score on, in which precision, and what running out of memory looks like."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import torch

from rerank.errors import SettingsError

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Device:
    """A device and the precision models run in on it."""

    name: str
    """As torch calls it: ``cpu``, ``cuda:0``, ``mps``."""
    precision: str
    """``fp32``, ``bf16`` or ``fp16``."""
    description: str
    openvino: bool = False
    """True where networks that can be converted run in OpenVINO instead of torch."""

    @property
    def is_cpu(self) -> bool:
        """True without a GPU."""
        return self.name == "cpu"

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch's type."""
        return _DTYPES[self.precision]

    def __str__(self) -> str:
        return f"{self.name} ({self.description}, {self.precision})"


def choose_device(requested: str = "auto", precision: str = "auto", runtime: str = "auto") -> Device:
    """The device to run on. ``auto`` takes the first GPU, else the CPU; a device that is not there is an error.

    Precision ``auto`` is fp32 on the CPU, bf16 on a GPU that has it, else fp16. Runtime ``auto`` is OpenVINO on the
    CPU where it is installed, else torch. Raises SettingsError.
    """
    name = _device_name(requested)
    chosen = precision if precision != "auto" else _native_precision(name)
    return Device(
        name=name, precision=chosen, description=_describe(name), openvino=_takes_openvino(name, chosen, runtime)
    )


def _takes_openvino(name: str, precision: str, runtime: str) -> bool:
    if runtime == "torch":
        return False
    obstacle = None
    if name != "cpu":
        obstacle = f"it runs on the CPU, not on {name}"
    elif precision == "fp16":
        obstacle = "on the CPU it takes fp32 or bf16, not fp16"
    elif importlib.util.find_spec("openvino") is None:
        obstacle = "it is not installed"
    if obstacle and runtime == "openvino":
        raise SettingsError(f"MODEL_RUNTIME=openvino: {obstacle}")
    return obstacle is None


def _device_name(requested: str) -> str:
    if requested == "auto":
        if torch.cuda.is_available():
            return "cuda:0"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = requested.partition(":")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise SettingsError(f"MODEL_DEVICE={requested}: this machine shows {count} CUDA devices to torch")
        return f"cuda:{index or 0}"
    if kind == "mps" and not torch.backends.mps.is_available():
        raise SettingsError("MODEL_DEVICE=mps: torch finds no Apple GPU on this machine")
    return kind


def _native_precision(name: str) -> str:
    if name.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "fp16" if name == "mps" else "fp32"


def _describe(name: str) -> str:
    if name.startswith("cuda"):
        return torch.cuda.get_device_name(name)
    if name == "mps":
        return "Apple GPU"
    return f"{torch.get_num_threads()} threads"
