from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank.settings import setting_names

WriteDotEnv = Callable[[str], None]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the machine that runs the tests."""
    known = {name for names in setting_names().values() for name in names}
    for name in list(os.environ):
        if name.upper() in known or name.upper().startswith("RERANK_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def dot_env(tmp_path: Path) -> WriteDotEnv:
    def write(text: str) -> None:
        (tmp_path / ".env").write_text(text, encoding="utf-8")

    return write
