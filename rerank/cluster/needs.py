"""Ray, which only the extra ``ray`` brings."""

from __future__ import annotations

import importlib
import os
from typing import Any

from rerank.errors import SettingsError

EXTRA = "rerank-gateway[ray]"


def needed(module: str) -> Any:
    """A module of Ray. Raises SettingsError that says how to get it."""
    # it would send statistics about the cluster to its makers
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise SettingsError(
            f"the package {package} is not installed; get it with: pip install '{EXTRA}' (or: make ray)"
        ) from error
