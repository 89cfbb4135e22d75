"""The floor: a model's matrix products alone, at the rate that torch reaches on their shapes on this machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from benchmarks.workload import body_parameters

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SECONDS = 1.0


def products_rate(folder: Path, dtype: torch.dtype, device: str = "cpu") -> float:
    """Multiply-adds x 2 a second of products of the checkpoint's own shape, 512 tokens at a time, on a GPU 16,384."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    rows, at_once = (512, 1) if device == "cpu" else (16384, 50)
    tokens = torch.randn(rows, hidden, dtype=dtype, device=device)
    up = torch.randn(hidden, inner, dtype=dtype, device=device)
    for _ in range(5):
        tokens @ up
    wait(device)
    started, count, spent = time.perf_counter(), 0, 0.0
    while spent < _SECONDS:
        for _ in range(at_once):
            tokens @ up
        wait(device)
        count, spent = count + at_once, time.perf_counter() - started
    return 2 * rows * hidden * inner * count / spent


def wait(device: str) -> None:
    """Until the device has done everything it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def floor_seconds(folder: Path, tokens: int, rate: float) -> float:
    """Seconds that the products of all layers take for so many tokens, nothing padded and nothing else done."""
    return 2 * body_parameters(folder) * tokens / rate
