"""The floor: a model's matrix products alone, at the rate that torch reaches on their shapes on this machine."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from benchmarks.workload import body_parameters

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_SECONDS = 1.0


def products_rate(folder: Path, dtype: torch.dtype) -> float:
    """Multiply-adds x 2 a second of products of the checkpoint's own shape, 512 tokens at a time."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    tokens, up = torch.randn(512, hidden, dtype=dtype), torch.randn(hidden, inner, dtype=dtype)
    for _ in range(5):
        tokens @ up
    started, count, spent = time.perf_counter(), 0, 0.0
    while spent < _SECONDS:
        tokens @ up
        count, spent = count + 1, time.perf_counter() - started
    return 2 * 512 * hidden * inner * count / spent


def floor_seconds(folder: Path, tokens: int, rate: float) -> float:
    """Seconds that the products of all layers take for so many tokens, nothing padded and nothing else done."""
    return 2 * body_parameters(folder) * tokens / rate
