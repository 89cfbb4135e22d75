"""The dashboard and the alerts ask for metrics that a running server has."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from .conftest import MODEL

MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"


@pytest.fixture
def exposed(client: TestClient) -> str:
    assert client.post("/v1/rerank", json={"query": "q", "documents": ["a", "b c"]}).status_code == 200
    return client.get("/metrics").text


@pytest.mark.parametrize("strict", [False], indirect=True)
@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_every_metric_that_is_asked_for_is_there(exposed: str, file: str) -> None:
    text = (MONITORING / file).read_text(encoding="utf-8")
    if file.endswith("json"):
        text = " ".join(target["expr"] for panel in json.loads(text)["panels"] for target in panel["targets"])
    asked = set(re.findall(r"\brerank_\w+", text))
    described = set(re.findall(r"^# TYPE (\w+) ", exposed, re.MULTILINE))
    assert len(asked) >= 3
    assert {re.sub("_(bucket|sum|count)$", "", name) for name in asked} <= described


@pytest.mark.parametrize("strict", [False], indirect=True)
def test_batches_and_memory_are_measured(exposed: str) -> None:
    assert re.search(r'^rerank_batch_pairs_count\{device="cpu"\} [1-9]', exposed, re.MULTILINE)
    assert re.search(r'^rerank_padding_tokens_total\{device="cpu"\} ', exposed, re.MULTILINE)
    assert re.search(rf'^rerank_model_bytes\{{model="{MODEL}"\}} \d', exposed, re.MULTILINE)
    assert re.search(rf'^rerank_model_events_total\{{event="loaded",model="{MODEL}"\}} 1.0', exposed, re.MULTILINE)
    assert re.search(r"^rerank_longest_wait_seconds 0.0", exposed, re.MULTILINE)
    assert re.search(r'^rerank_device_up\{device="cpu"\} 1.0', exposed, re.MULTILINE)
