"""Speed of a tiny model, measured."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from rerank.evaluation.speed import Run, measure
from rerank.evaluation.workload import mixed_requests

RUNTIME = {"MODEL_RUNTIME": "torch", "RERANK_MODELS_FILE": "none.toml"}


@pytest.fixture
def model(tiny: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.chdir(tmp_path)
    for name, value in RUNTIME.items():
        monkeypatch.setenv(name, value)
    return str(tiny)


def test_a_run_gives_every_figure(model: str) -> None:
    speed = measure(Run(model, "cpu", "fp32", mixed_requests(2, 3), seconds=0))
    assert (speed.device, speed.precision, speed.documents) == ("cpu", "fp32", 3)
    assert speed.runtime.startswith("torch fp32")
    assert min(speed.pairs_per_second, speed.tokens_per_second, speed.p50_ms, speed.load_seconds) > 0
    assert speed.memory_bytes > 1e7
    assert speed.matrix_share is not None
    assert speed.matrix_share > 0


def test_the_figures_of_a_run_can_be_sent_from_another_process(model: str) -> None:
    speed = measure(Run(model, "cpu", "fp32", mixed_requests(1, 2), seconds=0))
    assert pickle.loads(pickle.dumps(speed)) == speed
