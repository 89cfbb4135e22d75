"""The GPU's benchmark on the CPU: tiny models, packed batches with the attention that a CPU has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu
from benchmarks.workload import SIZES
from tests.process.server import ROOT

TINY = {"layers": 2, "hidden": 32, "heads": 4, "inner": 64, "vocabulary": 1100, "positions": 514}


@pytest.mark.parametrize("model", ["bge-base", "ettin-17m", "qwen3-tiny"])
def test_it_measures_both_sides_and_finds_the_scores_alike(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("bge-base", "ettin-17m"):
        monkeypatch.setitem(SIZES, name, SIZES[name] | TINY)
    options = ["--device", "cpu", "--models", model, "--lengths", "8", "mixed", "--pairs", "6", "--repeat", "1"]

    status = gpu.main([*options, "--peer-batches", "4", "8", "--folder", str(tmp_path)])

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [line.split()[:2] for line in lines if " ours " in line] == [["8", "ours"], ["mixed", "ours"]]
    assert sum(", batches of " in line for line in lines) == 2


def test_it_needs_neither_web_framework_nor_openvino(tmp_path: Path) -> None:
    absent = ("fastapi", "starlette", "uvicorn", "pydantic", "openvino", "nncf", "cachetools", "limits")
    options = ["--device", "cpu", "--models", "qwen3-tiny", "--lengths", "8", "--pairs", "2", "--repeat", "1"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent}))\n"
        f"from benchmarks import gpu; sys.exit(gpu.main({[*options, '--folder', str(tmp_path)]}))"
    )

    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr
    assert " ours " in run.stdout


def test_scores_that_differ_end_with_a_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "difference", lambda *_: 1.0)
    options = ["--device", "cpu", "--models", "qwen3-tiny", "--lengths", "8", "--pairs", "2", "--repeat", "1"]

    assert gpu.main([*options, "--peer-batches", "2", "--folder", str(tmp_path)]) == 1
