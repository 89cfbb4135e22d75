"""SageMaker's address, and the addresses of tasks that no model here does."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from rerank.api.dialects.main import MainDialect
from rerank.api.dialects.vllm.unsupported import TASKS
from tests.support.app import DOCUMENTS, MODEL, QUERY, AppUnderTest, error_message

from .conftest import OpenApp

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "rerank": ("/rerank", {"query": QUERY, "documents": DOCUMENTS, "top_n": 2}),
    "rerank, nested": ("/rerank", {"input": {"query": QUERY, "documents": DOCUMENTS}}),
    "TEI": ("/rerank", {"query": QUERY, "texts": DOCUMENTS}),
    "NVIDIA": ("/rerank", {"query": {"text": QUERY}, "passages": DOCUMENTS}),
    "Weaviate": ("/rerank", {"query": QUERY, "documents": DOCUMENTS, "property": ""}),
    "score of texts": ("/score", {"text_1": QUERY, "text_2": DOCUMENTS}),
    "score of data": ("/score", {"data_1": QUERY, "data_2": DOCUMENTS}),
    "score of documents": ("/score", {"queries": QUERY, "documents": DOCUMENTS}),
    "score of items": ("/score", {"queries": [QUERY], "items": DOCUMENTS}),
}
STRICTLY = ("rerank", "score of texts", "score of data", "score of documents", "score of items")


def without_ids(answer: Any) -> Any:
    if "id" not in answer:
        return answer
    kept = {name: value for name, value in answer.items() if name not in ("id", "created")}
    # they hold times
    meta = {name: value for name, value in kept.pop("meta", {}).items() if name not in ("route", "stages")}
    return kept | {"meta": meta}


@pytest.mark.parametrize("case", ASKED)
def test_a_body_is_answered_as_at_its_own_address(client: TestClient, case: str) -> None:
    path, body = ASKED[case]
    there, here = client.post(path, json=body), client.post("/invocations", json=body)
    assert (there.status_code, here.status_code) == (200, 200)
    assert without_ids(here.json()) == without_ids(there.json())


@pytest.mark.parametrize("case", STRICTLY)
def test_strictly_too(open_app: OpenApp, case: str) -> None:
    app = open_app(main_dialect=MainDialect.STRICT_VLLM)
    path, body = ASKED[case]
    assert without_ids(app.post("/invocations", body).json()) == without_ids(app.post(path, body).json())


def test_null_shows_no_task_where_vllm_is_spoken_strictly(open_app: OpenApp) -> None:
    app = open_app(main_dialect=MainDialect.STRICT_VLLM)
    body = {"query": QUERY, "documents": DOCUMENTS, "text_1": None}
    assert app.post("/invocations", body).status_code == 200
    assert app.post("/invocations", body | {"top_n": None}).json()["error"]["param"] == "body.top_n"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "body.query"),
        ({"query": "q"}, "body.documents"),
        ({"query": "q", "documents": ["a", 3]}, "body.documents.1"),
        ({"text_1": "q", "text_2": [3]}, "body.text_2.0"),
        ({"input": "x", "model": 3}, "body.model"),
    ],
)
def test_a_wrong_field_is_named(app: AppUnderTest, body: dict[str, Any], param: str) -> None:
    response = app.post("/invocations", body)
    error_message(response, 400, "Bad Request")
    assert response.json()["error"]["param"] == param


def test_a_tei_body_is_refused_in_teis_words(app: AppUnderTest) -> None:
    response = app.post("/invocations", {"query": "q", "texts": [3]})
    assert (response.status_code, response.json()["error_type"]) == (422, "Validation")


@pytest.mark.parametrize(
    ("path", "body", "task"),
    [
        *((path, {}, task) for path, task in TASKS.items()),
        ("/pooling", {"task": "token_embed", "input": "x"}, "token_embed"),
        ("/v1/embeddings", {"input": "x"}, "embed"),
        ("/invocations", {"input": "x"}, "embed"),
        ("/invocations", {"input": "x", "query": None, "text_1": None}, "embed"),
        ("/invocations", {"messages": []}, "generate"),
    ],
)
def test_an_unsupported_task_is_told_which_address_to_use(
    app: AppUnderTest, path: str, body: dict[str, Any], task: str
) -> None:
    message = error_message(app.post(path, body), 400, "BadRequestError")
    assert message.startswith(f"Unsupported task: '{task}'. `{MODEL.id}` is a reranker: ")
    assert "/v1/rerank" in message
    assert "/v1/score" in message


def test_an_unsupported_task_of_an_unknown_model_is_a_404(app: AppUnderTest) -> None:
    error_message(app.post("/v1/embeddings", {"input": "x", "model": "nope"}), 404, "NotFoundError")


def test_a_long_task_is_refused(app: AppUnderTest) -> None:
    assert "at most 64 characters" in error_message(app.post("/pooling", {"task": "x" * 10_000}), 400, "Bad Request")
