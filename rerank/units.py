"""Amounts, precisions and paths as people write them in settings and model cards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_BYTES = {
    "": 1,
    "b": 1,
    **{f"{prefix}b": 1000**power for power, prefix in enumerate("kmgt", 1)},
    **{f"{prefix}ib": 1024**power for power, prefix in enumerate("kmgt", 1)},
}
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_WHOLE_PERCENT = 100
_PRECISIONS = {"float32": "fp32", "float": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16"}
"""Names that torch and vLLM have for them."""
_TORCH_NAMES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z%]*)", re.ASCII)


def parse_seconds(text: str) -> float:
    """Seconds in ``90``, ``90s``, ``10m``, ``1.5h`` or ``1d``. Raises ValueError."""
    return _parse(text, _SECONDS, "seconds, or a number with s, m, h or d, as in 10m")


def parse_memory(text: str, whole: int) -> int:
    """Bytes in ``8GB``, ``8GiB`` or ``8000000000``, or in ``80%`` of ``whole``. Raises ValueError.

    A bare number up to 100 is a percentage: so few bytes hold nothing.
    """
    units: dict[str, float] = {**_BYTES, "%": whole / 100}
    amount = _parse(text, units, "a number with a unit as in 8GB or 8GiB, a number of bytes, or a percentage as in 80%")
    return int(amount if amount > _WHOLE_PERCENT or not text.strip().isdigit() else amount * whole / 100)


def precision_name(value: Any) -> Any:
    """``bf16`` for ``bfloat16``, ``fp16`` for ``float16`` or ``half``, ``fp32`` for ``float32``, in any case."""
    if not isinstance(value, str):
        return value
    name = value.strip().lower()
    return _PRECISIONS.get(name, name)


def torch_precision_name(precision: str) -> str:
    """``float32`` for ``fp32``, and so on; a precision that torch has no name for keeps its own."""
    return _TORCH_NAMES.get(precision, precision)


def expand_home(path: Path) -> Path:
    """The path with ``~`` as the user's home. Raises ValueError where there is no such user."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"there is no home folder for {path.parts[0]}") from error


def _parse(text: str, units: dict[str, float] | dict[str, int], wanted: str) -> float:
    found = _AMOUNT.fullmatch(text.strip().lower())
    if not found or found[2] not in units:
        raise ValueError(f"it has to be {wanted}")
    return float(found[1]) * units[found[2]]


def human_size(size: int) -> str:
    """Bytes as people say them, in decimal units: ``1.1 GB``."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"
