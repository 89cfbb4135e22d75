"""Devices: choice of device and precision, free memory, recovery.

Importing torch takes seconds, so it is left to the first model that needs it, or to a GPU.
"""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from rerank import cgroups, garbage
from rerank.errors import SettingsError
from rerank.units import torch_precision_name

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

_GPU_DRIVERS = tuple(
    map(Path, ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg", "/dev/kfd"))
)
"""On Linux, for every GPU that torch runs on: NVIDIA's, also of a Jetson and in WSL, and AMD's."""
_LEAST_CAPABILITY = (8, 0)
"""CUDA's, for the flash kernels behind torch.nn.attention.varlen."""
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "failed to allocate")


@dataclass(frozen=True, slots=True)
class Device:
    """A device and the precision models run in on it."""

    name: str
    """Name in torch: ``cpu``, ``cuda:0``, ``mps``."""
    precision: str
    """``fp32``, ``bf16``, ``fp16`` or ``int8``."""
    description: str
    openvino: bool = False
    """True where networks that can be converted run in OpenVINO instead of torch."""
    fp32_in_torch: bool = False
    """True where the precision is OpenVINO's only: a network that it cannot run is fp32 in torch."""

    @property
    def is_cpu(self) -> bool:
        """True without a GPU."""
        return self.name == "cpu"

    @property
    def torch_precision(self) -> str:
        """The precision of networks that run in torch."""
        return "fp32" if self.fp32_in_torch else self.precision

    @property
    def dtype(self) -> torch.dtype:
        """The precision of networks that run in torch, as torch's type."""
        return torch_dtype(self.torch_precision)

    def __str__(self) -> str:
        return f"{self.name} ({self.description}, {self.precision})"


def choose_device(requested: str = "auto", precision: str = "auto", runtime: str = "auto") -> Device:
    """The first of ``choose_devices``, for uses that need only one."""
    return choose_devices(requested, precision, runtime)[0]


def choose_devices(requested: str = "auto", precision: str = "auto", runtime: str = "auto") -> tuple[Device, ...]:
    """The devices to run on. ``auto`` takes the first GPU, else the CPU; ``cuda`` every GPU torch shows.

    Precision ``auto`` is bf16 on a GPU that has it, else fp16. On the CPU it is bf16 for networks that run in OpenVINO,
    where the CPU has bf16, else fp32. Runtime ``auto`` is OpenVINO on the CPU where it is installed, else torch.
    Raises SettingsError.
    """
    return tuple(_device(name, precision, runtime) for name in _device_names(requested))


def torch_dtype(precision: str) -> torch.dtype:
    """Torch's type for ``fp32``, ``bf16`` or ``fp16``."""
    import torch

    dtype: torch.dtype = getattr(torch, torch_precision_name(precision))
    return dtype


def precisions_on(name: str, runtime: str = "auto") -> tuple[str, ...]:
    """The precisions in which a device runs models at full speed, the most exact first."""
    if name == "cpu":
        openvino = _openvino_obstacle(name, "auto", runtime) is None
        return ("fp32", *(("bf16",) if openvino and has_native_bf16() else ()), *(("int8",) if openvino else ()))
    return ("fp32", "fp16", *(("bf16",) if _native_precision(name, openvino=False) == "bf16" else ()))


def use_cores() -> None:
    """Limit torch's CPU threads to the cores of the process; libraries count those of the host."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), cgroups.cores()))


def gpu_count() -> int:
    """CUDA devices that torch shows."""
    if not _may_have_gpu():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def free_memory(name: str) -> int:
    """Bytes that a batch on this device can take now."""
    if not name.startswith("cuda"):
        available = int(psutil.virtual_memory().available)
        limit = cgroups.memory_left()
        return available if limit is None else min(available, limit)
    import torch

    device = torch.device(name)
    free, _ = torch.cuda.mem_get_info(device)
    # torch keeps what it freed; the next batch gets it back
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def is_out_of_memory(error: Exception) -> bool:
    """True if the error says that a device's memory ran out.

    CUDA has a class for it; torch on the CPU and OpenVINO say it in the text of a RuntimeError.
    """
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (torch and isinstance(error, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in _OUT_OF_MEMORY)


def is_lost(name: str) -> bool:
    """True if no further call to the device can succeed in this process. Waits for what runs on the device.

    So it is with CUDA after an illegal memory access or a failed assertion in a kernel: its context is beyond repair.
    """
    if not name.startswith("cuda"):
        return False
    import torch

    try:
        torch.cuda.synchronize(name)
    except RuntimeError:
        return True
    return False


def memory_in_use(name: str) -> int:
    """Bytes this process takes on a device; on the CPU everything it holds in physical memory."""
    if name == "cpu":
        return int(psutil.Process().memory_info().rss)
    import torch

    if name == "mps":
        return int(torch.mps.current_allocated_memory())
    return int(torch.cuda.memory_allocated(torch.device(name)))


def peak_memory(name: str) -> int:
    """The most bytes this process has taken on a CUDA device; on others what it takes now."""
    if not name.startswith("cuda"):
        return memory_in_use(name)
    import torch

    return int(torch.cuda.max_memory_allocated(torch.device(name)))


def runs_packed(device: Device) -> bool:
    """True if the device has kernels for packed attention: half precision on an Ampere GPU or newer."""
    if not device.name.startswith("cuda"):
        return False
    import torch

    return device.dtype != torch.float32 and torch.cuda.get_device_capability(device.name) >= _LEAST_CAPABILITY


def release_memory(made: int | None = None) -> None:
    """Return the memory of deleted objects to the system. Blocks. ``made``: see ``garbage.search``."""
    # modules and what watches them refer to each other
    garbage.search(made)
    if torch := sys.modules.get("torch"):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()
    _trim_heap()


def _trim_heap() -> None:
    """Have glibc return freed memory, which the C library otherwise keeps."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)


def import_openvino() -> Any:
    """OpenVINO, kept from reporting its use.

    Its converter does so over the network through ``openvino_telemetry``, unasked; where that cannot be imported,
    nothing is reported.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


@cache
def has_native_bf16() -> bool:
    """True if the CPU has bf16 instructions (avx512_bf16, amx); without them bf16 is slower than fp32."""
    return "BF16" in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _device(name: str, precision: str, runtime: str) -> Device:
    obstacle = _openvino_obstacle(name, precision, runtime)
    if obstacle and runtime == "openvino":
        raise SettingsError(f"MODEL_RUNTIME=openvino: {obstacle}")
    if obstacle and precision == "int8":
        raise SettingsError(f"MODEL_PRECISION=int8 is for OpenVINO on the CPU: {obstacle}")
    if obstacle and name == "cpu" and runtime == "auto":
        logger.warning("models run in plain torch, which is slower than OpenVINO: %s", obstacle)
    openvino = obstacle is None
    return Device(
        name=name,
        precision=precision if precision != "auto" else _native_precision(name, openvino=openvino),
        description=_describe(name),
        openvino=openvino,
        fp32_in_torch=openvino and precision in ("auto", "int8"),
    )


def _openvino_obstacle(name: str, precision: str, runtime: str) -> str | None:
    """The reason why models do not run in OpenVINO; None if they do."""
    if runtime == "torch":
        return "MODEL_RUNTIME is torch"
    if name != "cpu":
        return f"it runs on the CPU, not on {name}"
    if precision == "fp16":
        return "on the CPU it takes fp32 or bf16 or int8, not fp16"
    return None if importlib.util.find_spec("openvino") else "it is not installed"


def _may_have_gpu() -> bool:
    """False on Linux without a GPU's driver: torch would find none. What has imported torch already can ask it."""
    return sys.platform != "linux" or "torch" in sys.modules or any(driver.exists() for driver in _GPU_DRIVERS)


def _has_apple_gpu() -> bool:
    if not _may_have_gpu():
        return False
    import torch

    return torch.backends.mps.is_available()


def _device_names(requested: str) -> tuple[str, ...]:
    if requested == "auto":
        if gpu_count():
            return ("cuda:0",)
        return ("mps",) if _has_apple_gpu() else ("cpu",)
    if requested.startswith("cuda"):
        return _cuda_names(requested)
    if requested == "mps" and not _has_apple_gpu():
        raise SettingsError("MODEL_DEVICE=mps: torch finds no Apple GPU on this machine")
    return (requested,)


def _cuda_names(requested: str) -> tuple[str, ...]:
    count = gpu_count()
    there = [f"cuda:{index}" for index in range(count)]
    wanted = there if requested == "cuda" else list(dict.fromkeys(name.strip() for name in requested.split(",")))
    if not wanted or not set(wanted) <= set(there):
        raise SettingsError(
            f"MODEL_DEVICE={requested}: this machine shows {count} CUDA devices to torch. With "
            "MODEL_DEVICE=auto models run on the first GPU where there is one, else on the CPU."
        )
    return tuple(wanted)


def _native_precision(name: str, *, openvino: bool) -> str:
    if name.startswith("cuda"):
        import torch

        with torch.cuda.device(name):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if name == "mps":
        return "fp16"
    return "bf16" if openvino and has_native_bf16() else "fp32"


def _describe(name: str) -> str:
    if name.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(name)
    return "Apple GPU" if name == "mps" else f"{cgroups.cores()} cores"
