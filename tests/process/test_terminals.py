"""Commands on a terminal that shows ASCII only."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.process.server import ROOT, ServerProcess, clean_environment
from tests.unit.client.test_limits import read_all

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")
NAME = "重排序-é-[red]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a model whose name no such terminal can show, and which is no markup."""
    model = tmp_path / "models" / NAME
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    return tmp_path


def run_on_terminal(folder: Path, command: Sequence[str]) -> str:
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 250, 0, 0))
    environment = clean_environment(folder) | {"PYTHONIOENCODING": "ascii", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = read_all(ours, "ascii")
    assert process.wait(60) == 0, shown
    return shown


def test_the_list_of_models_is_shown(folder: Path) -> None:
    shown = run_on_terminal(folder, [str(ROOT / "download_model.py"), "--list"])
    assert r"\u91cd\u6392\u5e8f-\xe9-[red]" in shown
    assert "BAAI/bge-reranker-base" in shown


def test_the_models_of_a_server_are_shown(folder: Path) -> None:
    with ServerProcess(folder) as server:
        shown = run_on_terminal(folder, [str(ROOT / "rerank_server.py"), "models", "--url", server.url])
    assert r"\u91cd\u6392\u5e8f-\xe9-[red]" in shown
    assert "absent" in shown
