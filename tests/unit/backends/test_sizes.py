from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rerank.backends.sizes import estimate, weights_on
from rerank.catalog.weight_files import parameters
from rerank.devices import Device


def device(precision: str, *, openvino: bool = False) -> Device:
    return Device("cpu", precision, "of a test", openvino=openvino)


def write(file: Path, *shapes: tuple[int, ...]) -> Path:
    save_file({str(place): np.zeros(shape, np.float16) for place, shape in enumerate(shapes)}, file, {"format": "pt"})
    return file


def test_parameters_are_counted_from_the_headers_of_every_file(tmp_path: Path) -> None:
    files = [write(tmp_path / "1.safetensors", (3, 4), (5,)), write(tmp_path / "2.safetensors", (), (2, 2, 2))]
    assert parameters(files) == 12 + 5 + 1 + 8


@pytest.mark.parametrize(
    ("where", "size"),
    [
        (device("fp32"), 4),
        (device("bf16"), 2),
        (device("fp16"), 2),
        (device("int8", openvino=True), 1),
        # the converted network is kept in fp32
        (device("bf16", openvino=True), 4),
    ],
)
def test_a_parameter_takes_what_it_takes_in_memory_not_on_disk(where: Device, size: int) -> None:
    assert weights_on(1000, where) == 1000 * size


@pytest.mark.parametrize(
    ("where", "size"),
    [
        (device("fp32"), 4),
        (device("bf16"), 2),
        # what OpenVINO reads, and what it lays out anew
        (device("fp32", openvino=True), 8),
        (device("bf16", openvino=True), 6),
        (device("int8", openvino=True), 2),
    ],
)
def test_the_estimate_grows_with_the_parameters(tmp_path: Path, where: Device, size: int) -> None:
    def estimated(values: int) -> int:
        file = write(tmp_path / f"{values}.safetensors", (values,))
        return estimate(parameters([file]), [where])["cpu"]

    assert estimated(3000) - estimated(1000) == 2000 * size
    assert estimated(1000) > 1000 * size


def test_the_estimate_is_for_each_device(tmp_path: Path) -> None:
    file = write(tmp_path / "model.safetensors", (10,))
    devices = [Device(name, "bf16", "of a test") for name in ("cuda:0", "cuda:1")]
    sizes = estimate(parameters([file]), devices)
    assert list(sizes) == ["cuda:0", "cuda:1"]
