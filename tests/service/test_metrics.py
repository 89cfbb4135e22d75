"""What a request leaves behind in `/metrics`, in its headers, and in the files made for Prometheus and Grafana."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from tests.support.app import DOCUMENTS, MODEL, AppUnderTest, BrokenScorer

from .conftest import OpenApp

STAGES = ("Model", "Tokenise", "Queue", "Device", "Total")


def value(client: TestClient, name: str, **labels: str) -> float:
    """A sample's value, 0 where there is none."""
    shown = ",".join(f'{label}="{text}"' for label, text in labels.items())
    line = "^" + re.escape(name + (f"{{{shown}}}" if labels else "")) + r" (\S+)$"
    found = re.search(line, client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_a_request_is_counted_and_timed(open_app: OpenApp) -> None:
    app = open_app()
    response = app.rerank()
    tokens = response.json()["usage"]["total_tokens"]
    client = app.client
    assert value(client, "rerank_requests_total", dialect="vLLM", model=MODEL.id, status="200") == 1
    assert value(client, "rerank_documents_total", model=MODEL.id) == len(DOCUMENTS)
    assert value(client, "rerank_tokens_total", model=MODEL.id) == tokens
    assert value(client, "rerank_request_duration_seconds_count", dialect="vLLM") == 1
    for stage in ("model", "tokenise", "queue", "device"):
        assert value(client, "rerank_stage_duration_seconds_count", stage=stage) == 1


@pytest.mark.parametrize(
    ("path", "body", "dialect"),
    [
        ("/rerank", {"query": "a", "texts": ["a"]}, "TEI"),
        ("/tei/rerank", {"query": "a", "texts": ["a"]}, "TEI"),
        ("/reranks", {"query": "a", "documents": ["a"]}, "DashScope"),
        ("/v1/rerank", {"query": "a", "passages": ["a"]}, "NVIDIA"),
        ("/voyage/v1/rerank", {"query": "a", "documents": ["a"]}, "Voyage"),
    ],
)
def test_each_dialect_is_counted_apart(open_app: OpenApp, path: str, body: dict[str, object], dialect: str) -> None:
    app = open_app()
    assert app.post(path, body).status_code == 200
    assert value(app.client, "rerank_requests_total", dialect=dialect, model=MODEL.id, status="200") == 1


def test_the_same_numbers_stand_in_the_headers(app: AppUnderTest) -> None:
    headers = app.rerank().headers
    spent = {stage: float(headers[f"X-{stage}-Ms"]) for stage in STAGES}
    assert spent["Total"] >= sum(spent.values()) - spent["Total"] - 0.5
    assert "X-Total-Ms" not in app.client.get("/v1/models").headers


def test_errors_are_counted_by_class_however_many_fields_are_wrong(open_app: OpenApp) -> None:
    app = open_app()
    for place in range(3):
        documents: list[object] = ["a"] * 3
        documents[place] = 7
        assert app.rerank(documents=documents).status_code == 400
    assert app.rerank(model="nope").status_code == 404
    assert value(app.client, "rerank_errors_total", error="InvalidBody") == 3
    assert value(app.client, "rerank_errors_total", error="ModelNotFound") == 1
    assert "documents.1" not in app.client.get("/metrics").text


def test_failures_are_counted(open_app: OpenApp) -> None:
    app = open_app(BrokenScorer(ValueError("x")))
    app.rerank()
    assert value(app.client, "rerank_requests_total", dialect="vLLM", model="", status="500") == 1
    assert value(app.client, "rerank_errors_total", error="ScoringFailed") == 1


def test_metrics_need_the_key_unless_they_are_open(open_app: OpenApp) -> None:
    assert open_app(keys=("key",)).client.get("/metrics").status_code == 401
    assert open_app(keys=("key",), open_paths=("/metrics",)).client.get("/metrics").status_code == 200


def test_the_pages_can_be_closed(open_app: OpenApp) -> None:
    client = open_app(pages=False).client
    assert {client.get(path).status_code for path in ("/docs", "/redoc", "/openapi.json")} == {404}
    assert client.get("/health").status_code == 200
