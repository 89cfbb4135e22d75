"""A rerank gateway: one server, many rerank models, every client. In a script: ``from rerank import Engine``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rerank.engine import Engine

__version__ = "0.1.0"
__all__ = ["Engine", "__version__"]


def __getattr__(name: str) -> Any:
    # importing torch takes seconds, which those who only want the version need not wait for
    if name != "Engine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module("rerank.engine").Engine
