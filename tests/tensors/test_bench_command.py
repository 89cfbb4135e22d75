"""`rerank bench` measures a model, as it does in a process of its own."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from rerank.cli.main import main
from rerank.evaluation import apart
from tests.support.tiny_checkpoints import make_xlm_roberta

pytestmark = pytest.mark.usefixtures("restored_logging")


def sent(thing: Any) -> Any:
    """What arrives in another process."""
    return pickle.loads(pickle.dumps(thing))


def test_a_model_is_measured_and_its_figures_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_xlm_roberta(tmp_path / "tiny")
    monkeypatch.setenv("RERANK_MODELS_DIR", str(tmp_path))
    monkeypatch.setenv("MODEL_RUNTIME", "torch")
    monkeypatch.setattr(apart, "run_apart", lambda work, run: sent(sent(work)(sent(run))))
    options = ["--device", "cpu", "--precision", "fp32", "--documents", "2", "--seconds", "0", "--json"]

    assert main(["bench", "tiny", *options]) == 0

    measured = json.loads(capsys.readouterr().out)
    assert measured["runtime"].startswith("torch fp32")
    assert measured["pairs_per_second"] > 0
