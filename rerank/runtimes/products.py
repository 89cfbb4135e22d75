"""Matrix rate of a device: operations per second in products of a model's own shape."""

from __future__ import annotations

import time

import torch

from rerank.devices import use_cores

_SECONDS = 1.0


def products_rate(inputs: int, outputs: int, dtype: torch.dtype, device: str = "cpu") -> float:
    """Multiply-adds x 2 per second of a matrix with 512 tokens at a time, on a GPU with 16,384."""
    if device == "cpu":
        use_cores()
    rows, at_once = (512, 1) if device == "cpu" else (16384, 50)
    tokens = torch.randn(rows, inputs, dtype=dtype, device=device)
    matrix = torch.randn(inputs, outputs, dtype=dtype, device=device)
    for _ in range(5):
        tokens @ matrix
    wait(device)
    started, count, spent = time.perf_counter(), 0, 0.0
    while spent < _SECONDS:
        for _ in range(at_once):
            tokens @ matrix
        wait(device)
        count, spent = count + at_once, time.perf_counter() - started
    return 2 * rows * inputs * outputs * count / spent


def wait(device: str) -> None:
    """Wait until the device has done everything it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
