from __future__ import annotations

import importlib.util
import weakref
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
import torch

from rerank import cgroups, devices
from rerank.devices import Device, choose_devices, free_memory, is_lost, is_out_of_memory, precisions_on
from rerank.errors import SettingsError

GIB = 2**30


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with three GPUs, as far as torch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda name: f"GPU {name[-1]}")
    monkeypatch.setattr(devices, "_native_precision", lambda *_, **__: "bf16")


@pytest.fixture(params=[True, False])
def native_bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    native: bool = request.param
    monkeypatch.setattr(devices, "has_native_bf16", lambda: native)
    return native


def names(requested: str) -> list[str]:
    return [device.name for device in choose_devices(requested, "fp32", "torch")]


class TestWhichDevices:
    @pytest.mark.parametrize(
        ("requested", "chosen"),
        [
            ("auto", ["cuda:0"]),
            ("cpu", ["cpu"]),
            ("cuda", ["cuda:0", "cuda:1", "cuda:2"]),
            ("cuda:1", ["cuda:1"]),
            ("cuda:0,cuda:2", ["cuda:0", "cuda:2"]),
            ("cuda:2, cuda:0, cuda:2", ["cuda:2", "cuda:0"]),
        ],
    )
    @pytest.mark.usefixtures("gpus")
    def test_are_those_the_setting_says(self, requested: str, chosen: list[str]) -> None:
        assert names(requested) == chosen

    @pytest.mark.usefixtures("gpus")
    def test_show_their_name_and_precision(self) -> None:
        assert [str(device) for device in choose_devices("cuda:0,cuda:1")] == [
            "cuda:0 (GPU 0, bf16)",
            "cuda:1 (GPU 1, bf16)",
        ]

    def test_auto_without_a_gpu_is_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        assert names("auto") == ["cpu"]

    @pytest.mark.parametrize("requested", ["cuda:3", "cuda:0,cuda:7"])
    @pytest.mark.usefixtures("gpus")
    def test_that_are_not_there_stop_the_start(self, requested: str) -> None:
        with pytest.raises(SettingsError, match=f"MODEL_DEVICE={requested}: this machine shows 3 CUDA devices"):
            choose_devices(requested)

    def test_cuda_without_a_gpu_stops_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(SettingsError, match="shows 0 CUDA devices"):
            choose_devices("cuda")


class TestPrecision:
    def test_auto_is_bf16_in_openvino_where_the_cpu_has_it_and_fp32_in_torch(self, native_bf16: bool) -> None:
        (device,) = choose_devices("cpu")
        assert device.openvino
        assert device.precision == ("bf16" if native_bf16 else "fp32")
        assert (device.torch_precision, device.dtype) == ("fp32", torch.float32)

    @pytest.mark.usefixtures("gpus")
    def test_a_device_has_those_in_which_it_is_fast(self, native_bf16: bool) -> None:
        assert precisions_on("cpu") == (("fp32", "bf16", "int8") if native_bf16 else ("fp32", "int8"))
        assert precisions_on("cpu", "torch") == ("fp32",)
        assert precisions_on("cuda:0") == ("fp32", "fp16", "bf16")

    @pytest.mark.usefixtures("native_bf16")
    def test_auto_is_fp32_where_torch_runs_on_the_cpu(self) -> None:
        (device,) = choose_devices("cpu", runtime="torch")
        assert (device.openvino, device.precision, device.dtype) == (False, "fp32", torch.float32)

    @pytest.mark.usefixtures("native_bf16")
    @pytest.mark.parametrize("precision", ["fp32", "bf16"])
    def test_a_precision_that_is_asked_for_is_torchs_too(self, precision: str) -> None:
        (device,) = choose_devices("cpu", precision)
        assert device.precision == device.torch_precision == precision

    def test_int8_is_openvinos_and_the_rest_is_fp32(self) -> None:
        (device,) = choose_devices("cpu", "int8")
        assert (device.openvino, device.precision, device.torch_precision) == (True, "int8", "fp32")
        assert device.dtype is torch.float32

    @pytest.mark.parametrize(
        ("requested", "runtime", "obstacle"),
        [("cpu", "torch", "MODEL_RUNTIME is torch"), ("cuda", "auto", "it runs on the CPU, not on cuda:0")],
    )
    @pytest.mark.usefixtures("gpus")
    def test_int8_anywhere_else_stops_the_start(self, requested: str, runtime: str, obstacle: str) -> None:
        with pytest.raises(SettingsError, match=f"MODEL_PRECISION=int8 is for OpenVINO on the CPU: {obstacle}"):
            choose_devices(requested, "int8", runtime)

    def test_int8_without_openvino_stops_the_start(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(SettingsError, match=r"MODEL_PRECISION=int8 .*: it is not installed"):
            choose_devices("cpu", "int8")

    def test_openvino_says_what_it_has(self) -> None:
        assert isinstance(devices.has_native_bf16(), bool)


class TestFreeMemory:
    def test_of_a_gpu_counts_what_torch_holds_unused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (10 * GIB, 80 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 30 * GIB)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 25 * GIB)
        assert free_memory("cuda:1") == 15 * GIB

    @pytest.mark.parametrize(("limit", "free"), [(None, 8 * GIB), (2 * GIB, 2 * GIB), (9 * GIB, 8 * GIB)])
    def test_of_a_cpu_is_what_machine_and_container_leave(
        self, limit: int | None, free: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
        monkeypatch.setattr(cgroups, "memory_left", lambda: limit)
        assert free_memory("cpu") == free

    def test_of_this_machine_is_something(self) -> None:
        assert free_memory("cpu") > 0


class TestThreads:
    @pytest.fixture(autouse=True)
    def threads_of_torch(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        before = torch.get_num_threads()
        torch.set_num_threads(2)
        yield
        torch.set_num_threads(before)

    @pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 2), (8, 2)])
    def test_are_no_more_than_the_process_has_cores(
        self, cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cgroups, "cores", lambda: cores)
        devices.use_cores()
        assert torch.get_num_threads() == threads

    def test_are_as_many_as_the_operator_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(cgroups, "cores", lambda: 1)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        devices.use_cores()
        assert torch.get_num_threads() == 2


def test_a_device_that_only_names_a_precision_uses_it_everywhere() -> None:
    assert Device("cuda:0", "bf16", "a GPU").dtype is torch.bfloat16


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"),
        RuntimeError("Exception from src/inference/src/cpp/infer_request.cpp:224:\nstd::bad_alloc"),
    ],
)
def test_running_out_of_memory_is_recognised(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("out of memory"), OSError()])
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not is_out_of_memory(error)


class TestMemoryInUse:
    def test_of_the_cpu_is_what_the_process_holds(self) -> None:
        before = devices.memory_in_use("cpu")
        held = bytearray(64 * 2**20)
        held[::4096] = b"x" * len(held[::4096])
        assert devices.memory_in_use("cpu") - before > 32 * 2**20

    def test_of_a_gpu_is_what_torch_has_allocated(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000 + device.index)
        assert devices.memory_in_use("cuda:2") == 1002

    def test_without_references_is_given_back(self) -> None:
        class Node:
            other: Node

        first, second = Node(), Node()
        first.other, second.other = second, first
        watched = weakref.ref(first)
        del first, second
        devices.release_memory()
        assert watched() is None


class TestLoss:
    @pytest.mark.parametrize(
        "message", ["CUDA error: an illegal memory access was encountered", "CUDA error: device-side assert triggered"]
    )
    def test_is_a_gpu_that_answers_nothing_but_errors(self, monkeypatch: pytest.MonkeyPatch, message: str) -> None:
        def fail(_: str) -> None:
            raise torch.AcceleratorError(message)

        monkeypatch.setattr(torch.cuda, "synchronize", fail)
        assert is_lost("cuda:1")

    def test_is_not_a_gpu_that_works(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[str] = []
        monkeypatch.setattr(torch.cuda, "synchronize", asked.append)
        assert not is_lost("cuda:1")
        assert asked == ["cuda:1"]

    def test_never_happens_to_a_cpu(self) -> None:
        assert not is_lost("cpu")
