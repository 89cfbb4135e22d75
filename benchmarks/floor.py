"""The floor: a model's matrix products alone, at the rate that torch reaches on their shapes on this machine."""

from __future__ import annotations

from pathlib import Path

import torch

from rerank.catalog.weight_files import shapes, weight_files_in
from rerank.evaluation.floor import largest, layer_matrices, operations
from rerank.runtimes import products

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def products_rate(folder: Path, dtype: torch.dtype, device: str = "cpu") -> float:
    """See ``products.products_rate``: of the largest of the checkpoint's own matrices."""
    return products.products_rate(*largest(_matrices(folder)), dtype, device)


def floor_seconds(folder: Path, tokens: int, rate: float) -> float:
    """Seconds that the products of all layers take for ``tokens`` tokens, nothing padded and nothing else done."""
    return operations(_matrices(folder), tokens) / rate


def _matrices(folder: Path) -> list[tuple[int, int]]:
    return layer_matrices(shapes(weight_files_in(folder)))
