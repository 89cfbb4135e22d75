from __future__ import annotations

import os
from pathlib import Path

import pytest

from rerank.settings import setting_names


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the machine that runs the tests, and no file either."""
    known = {name for names in setting_names().values() for name in names}
    for name in list(os.environ):
        if name.upper() in known or name.upper().startswith("RERANK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is as wide as where nothing says otherwise."""
    monkeypatch.delenv("COLUMNS", raising=False)
