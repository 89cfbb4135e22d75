from __future__ import annotations

import os
import signal
from collections.abc import Iterator
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


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is what Python makes of it by default, whatever the tests were started by or did before."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)
