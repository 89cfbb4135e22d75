"""What `make test` installs while the tests run already."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from tools.alongside import lock_file

SDKS = Path(__file__).parents[2] / ".venv-sdks"


def wait_for(target: str) -> None:
    """Return once no installation by this target of make is under way."""
    if (file := lock_file(target)).exists():
        with FileLock(file):
            pass


def sdk_environment(name: str) -> Path:
    """The virtual environment of SDKs; skips where it is not installed."""
    wait_for("sdks")
    if not (SDKS / name / ".installed").exists():
        pytest.skip("`make sdks` has not installed the SDKs")
    return SDKS / name
