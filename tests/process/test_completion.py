"""What a shell offers to complete."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.process.server import ROOT


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("rerank p", {"pull", "ps"}), ("rerank key n", {"new"}), ("rerank serve --max-inf", 3), ("rerank pull --f", 1)],
    ids=["command", "subcommand", "setting", "option"],
)
def test_the_shell_completes_commands_and_options(typed: str, offered: set[str] | int, tmp_path: Path) -> None:
    environment = {
        "PYTHONPATH": str(ROOT),
        "PATH": "",
        "_RERANK_COMPLETE": "complete_bash",
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(typed.split()) - 1),
    }
    run = subprocess.run(
        [sys.executable, "-c", "from rerank.cli.main import main; main()"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    words = set(run.stdout.split())
    assert words == offered if isinstance(offered, set) else len(words) == offered, run
    assert all(word.startswith(typed.split()[-1]) for word in words)
