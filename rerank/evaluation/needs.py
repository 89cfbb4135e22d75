"""The packages of the extra ``evaluate``, which the server does without."""

from __future__ import annotations

import importlib
from typing import Any

from rerank.errors import SettingsError

EXTRA = "rerank-gateway[evaluate]"


def needed(module: str) -> Any:
    """The module of a package of the extra. Raises SettingsError that says how to get it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the package {error.name} is not installed; get it with: pip install '{EXTRA}' (or: make extras)"
        ) from error
