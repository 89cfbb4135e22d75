"""What real clients send and vLLM would refuse, or that is easily refused by mistake."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.app import DOCUMENTS, MODEL, QUERY, AppUnderTest, indices

ALL = [1, 0, 2]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"top_n": None}, ALL),
        ({"top_n": 0}, ALL),
        ({"top_n": "0"}, ALL),
        ({"top_n": len(DOCUMENTS) + 5}, ALL),
        ({"top_n": 10**300}, ALL),
        ({"top_n": "2"}, ALL[:2]),
        ({"top_n": 2.0}, ALL[:2]),
        ({"top_k": 2}, ALL[:2]),
        ({"top_k": None}, ALL),
        ({"top_n": None, "top_k": 2}, ALL[:2]),
        ({"top_n": 1, "top_k": 2}, ALL[:1]),
    ],
    ids=str,
)
def test_top_n(app: AppUnderTest, fields: dict[str, Any], expected: list[int]) -> None:
    assert indices(app.rerank(**fields)) == expected


@pytest.mark.parametrize(
    ("value", "echoed"),
    [(True, True), ("true", True), (1, True), (None, True), (False, False), ("false", False), ("False", False)],
)
def test_return_documents(app: AppUnderTest, value: object, echoed: bool) -> None:
    result = app.rerank(return_documents=value).json()["results"][0]
    assert ("document" in result) is echoed


@pytest.mark.parametrize(
    ("documents", "texts"),
    [
        ("one bare string", ["one bare string"]),
        ({"text": "one object"}, ["one object"]),
        ([{"text": "a"}, {"text": "b", "title": "ignored", "_id": 7}], ["a", "b"]),
        (["a", {"text": "b"}], ["a", "b"]),
        ([""], [""]),
        (["", "a", {"text": ""}], ["", "a", ""]),
    ],
    ids=str,
)
def test_forms_of_documents(app: AppUnderTest, documents: object, texts: list[str]) -> None:
    results = app.rerank(documents=documents).json()["results"]
    assert [result["document"]["text"] for result in sorted(results, key=lambda found: found["index"])] == texts


def test_a_query_may_be_an_object(app: AppUnderTest) -> None:
    assert indices(app.rerank(query={"text": QUERY})) == ALL


OPTIONAL_FIELDS = (
    "model",
    "top_n",
    "top_k",
    "return_documents",
    "truncate_prompt_tokens",
    "max_tokens_per_doc",
    "truncate",
    "use_activation",
    "instruction",
    "rank_fields",
    "user",
    "priority",
)


@pytest.mark.parametrize("field", OPTIONAL_FIELDS)
def test_null_is_absent(app: AppUnderTest, field: str) -> None:
    body = app.rerank(**{field: None}).json()
    assert body["results"] == app.rerank().json()["results"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/invocations"])
@pytest.mark.parametrize(
    "field", ["property", "texts", "passages", "docs", "input", "inputs", "text_1", "data_1", "queries", "messages"]
)
def test_null_shows_no_dialect_and_no_task(app: AppUnderTest, path: str, field: str) -> None:
    plain = {"query": QUERY, "documents": DOCUMENTS}
    assert app.post(path, plain | {field: None}).json()["results"] == app.post(path, plain).json()["results"]


@pytest.mark.parametrize("field", ["texts", "passages"])
@pytest.mark.parametrize("null", ["documents", "input"])
def test_null_hides_no_dialect(app: AppUnderTest, field: str, null: str) -> None:
    plain = {"query": QUERY, field: DOCUMENTS}
    assert app.post("/rerank", plain | {null: None}).json() == app.post("/rerank", plain).json()


def test_null_erases_nothing_outside(app: AppUnderTest) -> None:
    inside = {"query": QUERY, "documents": DOCUMENTS, "docs": None}
    body = {"top_n": 1, "query": None, "input": inside, "parameters": {"top_n": None}}
    assert indices(app.post("/v1/rerank", body)) == ALL[:1]


def test_all_nulls_at_once(app: AppUnderTest) -> None:
    assert indices(app.rerank(**dict.fromkeys(OPTIONAL_FIELDS))) == ALL


@pytest.mark.parametrize(
    "fields",
    [
        {"max_chunks_per_doc": None, "return_len": None, "kwargs": "{}"},
        {"unknown_field": {"deep": [1, {"er": None}]}},
        {"user": "u", "priority": 3, "request_id": "r", "truncation_side": "left"},
        {"": 1},
        {"kwargs": "\ud800", "zz\ud800": 1},
    ],
    ids=ascii,
)
def test_unknown_fields_are_ignored(app: AppUnderTest, fields: dict[str, Any]) -> None:
    assert indices(app.rerank(**fields)) == ALL


@pytest.mark.parametrize(
    "name",
    [None, "", MODEL.id, "the-words", "words", "ACME/Words", "acme/words/", "acme/words___VLLM", " acme/words "],
)
def test_names_of_the_model(app: AppUnderTest, name: str | None) -> None:
    body = app.rerank(model=name).json()
    assert body["model"] == MODEL.id
    assert body["meta"]["model_reason"] == ("named in the request" if name else "default: the test says so")


BODY = b'{"query": "capital of France", "documents": ["Berlin is big", "Paris, capital of France"]}'


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        "Application/JSON",
        "application/vnd.api+json",
        None,
    ],
)
def test_content_types(client: TestClient, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    assert indices(client.post("/v1/rerank", content=BODY, headers=headers)) == [1, 0]


def test_of_a_key_given_twice_the_last_counts(client: TestClient) -> None:
    raw = b'{"query": "x", "query": "b", "documents": ["z"], "documents": ["a", "b"]}'
    assert indices(client.post("/v1/rerank", content=raw)) == [1, 0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_obstacle(client: TestClient, encoding: str) -> None:
    assert indices(client.post("/v1/rerank", content=BODY.decode().encode(encoding))) == [1, 0]


def test_an_instruction_is_taken(app: AppUnderTest) -> None:
    assert indices(app.rerank(instruction="Find capitals")) == ALL


# what clients really send, from the reference notes
REAL_BODIES = {
    "AstrBot's self-test": ("/v1/rerank", {"query": "Apple", "documents": ["apple", "banana"], "model": "words"}),
    "AstrBot with top_n": ("/v1/rerank", {"query": "a", "documents": ["a", "b"], "model": MODEL.id, "top_n": 2}),
    "LangChain": (
        "/v2/rerank",
        {"model": MODEL.id, "query": "a", "documents": ["a", "b"], "top_n": None, "max_tokens_per_doc": None},
    ),
    "MaxKB": ("/v2/rerank", {"model": MODEL.id, "query": "a", "documents": ["a", "b"]}),
    "Xinference": (
        "/v1/rerank",
        {
            "model": MODEL.id,
            "documents": ["a", "b"],
            "query": "a",
            "top_n": None,
            "max_chunks_per_doc": None,
            "return_documents": None,
            "return_len": None,
            "kwargs": "{}",
        },
    ),
    "Milvus": ("/rerank", {"query": "a", "documents": ["a", "b"]}),
    "LiteLLM": (
        "/v1/rerank",
        {"model": MODEL.id, "query": "a", "documents": ["a", {"text": "b"}], "return_documents": True},
    ),
    "Open WebUI": ("/v1/rerank", {"model": MODEL.id, "query": "a", "documents": ["a", "b"], "top_n": 2}),
}


@pytest.mark.parametrize(("path", "body"), REAL_BODIES.values(), ids=REAL_BODIES)
def test_real_clients(client: TestClient, path: str, body: dict[str, Any]) -> None:
    response = client.post(path, json=body, headers={"Authorization": "Bearer None"})
    assert indices(response) == [0, 1]
    assert all(result["document"]["text"] for result in response.json()["results"])
