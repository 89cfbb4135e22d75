"""Settings of the machine that runs the tests, which no test is to see."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rerank.settings import setting_names


def forget_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take every setting out of the environment, also that of ``tests/conftest.py``, and go where no file has any."""
    known = {name for names in setting_names().values() for name in names}
    for name in list(os.environ):
        if name.upper() in known or name.upper().startswith("RERANK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
