"""Processes killed with signal 9, which nothing can catch, and what the next ones make of what they left."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import requests
from sentence_transformers import CrossEncoder

from rerank.catalog.checkpoint import read_checkpoint
from tests.process.server import ROOT, ServerProcess, post, wait_for_bytes
from tests.support.fake_hub import FakeHub
from tests.support.tiny_checkpoints import make_xlm_roberta

NAME = "org/reranker"
QUERY = "what is machine learning?"
DOCUMENTS = ["Machine learning is a branch of AI", "the giant panda is a bear", "Python is a programming language"]
KILLED_WHILE_SAVING = (
    str(ROOT / "tests/faults/killed_while_saving.py"),
    str(ROOT / "rerank_server.py"),
    "--port",
    "0",
)


def test_killed_in_a_download_and_again_in_a_conversion_the_model_is_whole(tmp_path: Path, hub: FakeHub) -> None:
    original = make_xlm_roberta(tmp_path / "original", hidden=256)
    weights = hub.add_folder(NAME, original).files["model.safetensors"]
    weights.holding = True
    models = tmp_path / "models"
    # its own, not what other tests converted
    (models / ".openvino").mkdir(parents=True)
    settings = {"RERANK_DEFAULT_MODEL": NAME, "MODEL_PRECISION": "fp32"}
    with_hub = settings | {"HF_ENDPOINT": hub.url}

    download = ServerProcess(tmp_path, with_hub, command=(str(ROOT / "download_model.py"), NAME))
    assert weights.held.wait(60)
    wait_for_bytes(models / ".incomplete" / "reranker")
    assert download.stop(signal.SIGKILL) == -signal.SIGKILL
    assert not (models / "reranker").exists()

    weights.holding = False
    weights.release.set()
    with ServerProcess(tmp_path, with_hub, command=KILLED_WHILE_SAVING) as server:
        with pytest.raises(requests.ConnectionError):
            post(server, {"query": QUERY, "documents": DOCUMENTS})
        assert server.wait() == -signal.SIGKILL
    assert hub.ranges, "what had come was not fetched again"
    assert read_checkpoint(models / "reranker")
    assert [left.suffix for left in models.glob(".openvino/*/")] == [".unfinished"]

    # all it needs is on disk now
    with ServerProcess(tmp_path, settings) as server:
        answer = post(server, {"query": QUERY, "documents": DOCUMENTS})
        ready = requests.get(f"{server.url}/ready", timeout=60)
    scores = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
    expected = CrossEncoder(str(original), device="cpu").predict([(QUERY, document) for document in DOCUMENTS])
    assert [scores[place] for place in range(len(DOCUMENTS))] == pytest.approx(expected.tolist(), abs=1e-4)
    assert ready.status_code == 200
    assert (models / "reranker" / "model.safetensors").read_bytes() == weights.content
    assert not (models / ".incomplete" / "reranker").exists()
    (converted,) = models.glob(".openvino/*/")
    assert sorted(file.name for file in converted.iterdir()) == ["model.bin", "model.xml", "sums.json"]
