from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
from typer.main import get_command

from rerank.cli import serve
from rerank.settings import Settings
from tests.support.settings import forget_settings

WriteDotEnv = Callable[[str], None]


def from_command_line(arguments: Sequence[str]) -> Settings:
    """The settings with which `rerank serve` would start the server."""
    started: list[Settings] = []
    server = SimpleNamespace(main=started.append)
    with patch.dict(sys.modules, {"rerank.server.serve": server}):
        get_command(serve.app).main(list(arguments), standalone_mode=False)
    return started[0]


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the machine that runs the tests."""
    forget_settings(monkeypatch, tmp_path)


@pytest.fixture
def dot_env(tmp_path: Path) -> WriteDotEnv:
    def write(text: str) -> None:
        (tmp_path / ".env").write_text(text, encoding="utf-8")

    return write
