"""`/v1/embeddings` as OpenAI's and vLLM's clients ask, and `/embed` as TEI's do, of the bundled model."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from rerank.catalog.cards import ModelCard
from rerank.catalog.families import LATE_INTERACTION
from tests.support.app import MODEL as MODEL_OF_APP
from tests.support.app import AppUnderTest
from tests.support.whole import whole_app

from .conftest import MODEL as RERANKER

MODEL = "all-MiniLM-L6-v2"
TEXTS = ["Paris is the capital of France.", "I like cheese."]
DIMENSIONS = 384


def ask(client: TestClient, path: str = "/v1/embeddings", **fields: Any) -> Response:
    return client.post(path, json={"model": MODEL} | fields)


def vectors(answer: Response) -> list[list[float]]:
    assert answer.status_code == 200, answer.text
    data = answer.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [item["embedding"] for item in data]


@pytest.fixture(scope="module")
def known(client: TestClient) -> list[list[float]]:
    return vectors(ask(client, input=TEXTS))


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/invocations"])
def test_an_answer_has_the_fields_of_openai(client: TestClient, path: str, known: list[list[float]]) -> None:
    answer = ask(client, path, input=TEXTS)

    assert vectors(answer) == known
    body = answer.json()
    assert body["object"] == "list"
    assert body["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert [item["object"] for item in body["data"]] == ["embedding"] * 2
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] == 15
    assert [len(vector) for vector in known] == [DIMENSIONS] * 2
    assert sum(number**2 for number in known[0]) == pytest.approx(1, abs=1e-5)


def test_one_text_gives_one_vector(client: TestClient, known: list[list[float]]) -> None:
    (vector,) = vectors(ask(client, input=TEXTS[0]))
    assert vector == pytest.approx(known[0], abs=1e-5)


def test_base64_holds_the_same_numbers(client: TestClient, known: list[list[float]]) -> None:
    encoded = [item["embedding"] for item in ask(client, input=TEXTS, encoding_format="base64").json()["data"]]
    assert [list(struct.unpack(f"<{DIMENSIONS}f", base64.b64decode(text))) for text in encoded] == known


@pytest.mark.parametrize("path", ["/embed", "/tei/embed"])
def test_tei_gives_an_array_of_vectors(client: TestClient, path: str, known: list[list[float]]) -> None:
    assert ask(client, path, inputs=TEXTS).json() == known
    assert ask(client, path, inputs=TEXTS[0]).json() == [pytest.approx(known[0], abs=1e-5)]


def test_both_stages_agree(client: TestClient, known: list[list[float]]) -> None:
    """The cosine of two vectors is the raw score of the pair."""
    scored = client.post(
        "/v1/score", json={"model": MODEL, "text_1": TEXTS[0], "text_2": TEXTS[1], "use_activation": False}
    ).json()["data"][0]["score"]
    cosine = sum(one * other for one, other in zip(known[0], known[1], strict=True))
    assert cosine == pytest.approx(scored, abs=1e-5)


@pytest.mark.parametrize("ids", [[101, 102], [[101, 102], [7]], [[]]], ids=["one text", "several", "none"])
def test_token_ids_are_refused_with_what_to_do(client: TestClient, ids: list[Any]) -> None:
    answer = ask(client, input=ids)
    assert answer.status_code == 400
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "input"),
        ({"input": []}, "At least one text element must be given"),
        ({"input": ["a"] * 5001}, "The request holds 5001 texts; "),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "a", "dimensions": 0}, "dimensions"),
        ({"input": "a", "dimensions": 5}, "dimensions is 5; the vectors of this model may have 384"),
        ({"input": "a", "output_dimension": 5}, "`shorter_vectors = true` in its card"),
        ({"input": "a", "instruction": "find bears"}, "The model takes no instruction: put it before each text."),
        ({"input": "a", "prompt_name": "nope"}, "no prompt 'nope'"),
        ({"input": "a", "prompt_name": "x" * 600}, "prompt_name"),
        ({"input": "a", "input_type": "image"}, "input_type"),
        ({"input": "a", "truncate_prompt_tokens": 10_000}, "truncate_prompt_tokens value is greater"),
    ],
    ids=[
        "missing",
        "none",
        "too many",
        "format",
        "zero",
        "shorter",
        "Voyage's",
        "instruction",
        "prompt",
        "long name",
        "type",
        "limit",
    ],
)
def test_a_wrong_request_is_a_400_that_names_the_field(client: TestClient, fields: dict[str, Any], said: str) -> None:
    answer = ask(client, **fields)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


NUMBERS_OF_OTHERS: dict[str, Any] = {
    "task": "text-matching",
    "late_chunking": True,
    "return_multivector": True,
    "embedding_type": "binary",
    "embedding_types": ["float", "int8"],
    "encoding_type": "uint8",
    "output_dtype": "int8",
    "embed_dtype": "float16",
    "add_special_tokens": False,
    "modality": "image",
    "prompt": "query: ",
    "messages": [{"role": "user", "content": "a"}],
    "max_length": 8,
}
"""Fields of other servers that would change the vectors."""
ADDRESSES = {"/v1/embeddings": "input", "/invocations": "input", "/embed": "inputs", "/tei/embed": "inputs"}
"""Addresses that give vectors, and the field of the texts."""


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize("field", NUMBERS_OF_OTHERS)
def test_a_field_that_would_change_the_vectors_is_refused_by_name(client: TestClient, path: str, field: str) -> None:
    answer = ask(client, path, **{ADDRESSES[path]: "a", field: NUMBERS_OF_OTHERS[field]})

    assert answer.status_code == (422 if path.split("/")[-1] == "embed" else 400)
    assert f"1 validation error: {field}: " in answer.text


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embed"])
@pytest.mark.parametrize("field", ["task", "prompt", "max_length", "embedding_type", "output_dtype", "modality"])
@pytest.mark.parametrize(
    "value",
    ["x" * 1_000_000, [[[["x"] * 1000]]], {"x": {}}, "\ud800", 10**300],
    ids=["long", "nested", "object", "surrogate", "number"],
)
def test_a_refusal_stays_short(client: TestClient, path: str, field: str, value: Any) -> None:
    body = json.dumps({"model": MODEL, ADDRESSES[path]: "a", field: value})
    answer = client.post(path, content=body, headers={"content-type": "application/json"})

    assert answer.status_code in (400, 422)
    assert len(answer.content) < 1500


DEFAULTS_OF_OTHERS: dict[str, Any] = {
    "task": None,
    "late_chunking": False,
    "return_multivector": "false",
    "truncate": True,
    "embedding_type": "float",
    "embedding_types": ["float"],
    "output_dtype": "float",
    "output_dimension": DIMENSIONS,
    "dimensions": DIMENSIONS,
    "normalized": True,
    "normalize": True,
    "modality": "text",
    "prompt": "",
    "instruction": "",
    "messages": [],
    "max_length": None,
    "user": "me",
    "priority": 1,
    "labels": {"a": ["b"]},
}
"""Fields of other servers that change nothing, together."""


@pytest.mark.parametrize("path", ["/v1/embeddings", "/invocations"])
def test_fields_that_change_nothing_pass(client: TestClient, path: str, known: list[list[float]]) -> None:
    assert vectors(ask(client, path, input=TEXTS, **DEFAULTS_OF_OTHERS)) == known


@pytest.mark.parametrize("path", ["/embed", "/tei/embed"])
def test_fields_that_change_nothing_pass_at_teis_addresses(
    client: TestClient, path: str, known: list[list[float]]
) -> None:
    assert ask(client, path, inputs=TEXTS, **DEFAULTS_OF_OTHERS).json() == known


@pytest.mark.parametrize(
    "fields",
    [
        {"embedding_type": "base64"},
        {"embedding_types": ["base64"]},
        {"embedding_type": "float", "encoding_format": "base64"},
    ],
    ids=["Jina's", "Cohere's", "with the SDK's own"],
)
def test_base64_is_asked_for_in_other_words(client: TestClient, known: list[list[float]], fields: Any) -> None:
    first = ask(client, input=TEXTS, **fields).json()["data"][0]["embedding"]
    assert list(struct.unpack(f"<{DIMENSIONS}f", base64.b64decode(first))) == known[0]


@pytest.mark.parametrize("field", ["encoding_format", "embedding_type", "embedding_types"])
def test_teis_addresses_give_no_base64(client: TestClient, field: str) -> None:
    answer = ask(client, "/embed", inputs="a", **{field: "base64"})
    assert answer.status_code == 422
    assert f"{field} is base64: this address gives numbers" in answer.text


def test_a_limit_of_tokens_holds_at_teis_addresses(client: TestClient) -> None:
    cut, same = (
        ask(client, "/embed", inputs=text, truncate_prompt_tokens=4).json() for text in ("word " * 2, "word " * 9)
    )
    assert cut == same != ask(client, "/embed", inputs="word " * 9).json()


def test_a_long_text_is_cut_where_the_server_is_not_strict(client: TestClient, strict: bool) -> None:
    answer = ask(client, input="word " * 3000)
    assert answer.status_code == (400 if strict else 200)
    cut = ask(client, input="word " * 3000, truncate_prompt_tokens=-1)
    assert cut.json()["usage"]["prompt_tokens"] == 256


@pytest.mark.parametrize(
    ("path", "field"), [("/v1/embeddings", "input"), ("/invocations", "input"), ("/embed", "inputs")]
)
def test_a_reranker_is_refused_with_the_addresses_that_take_it(client: TestClient, path: str, field: str) -> None:
    answer = client.post(path, json={"model": RERANKER, field: "a"})
    assert answer.status_code == (422 if path == "/embed" else 400)
    assert f"`{RERANKER}` is a reranker: send a query and documents to /v1/rerank" in answer.text
    assert "/v1/embeddings" not in answer.text


def test_a_late_interaction_model_is_refused_as_what_it_is(tmp_path: Path) -> None:
    card = ModelCard(id="acme/late", repo="acme/late", family=LATE_INTERACTION)
    with AppUnderTest(tmp_path / "models", cards=(MODEL_OF_APP, card)) as app:
        answer = app.client.post("/v1/embeddings", json={"model": card.id, "input": "a"})

    assert answer.status_code == 400
    assert "`acme/late` is a late-interaction model: send a query and documents to /v1/rerank" in answer.text


@pytest.mark.parametrize("model", [RERANKER, "bge-reranker-base"], ids=["on disk", "on the Hub"])
def test_a_reranker_is_refused_without_being_fetched_or_loaded(models_dir: Path, model: str) -> None:
    with TestClient(whole_app(models_dir=models_dir, model_device="cpu", hf_endpoint="http://127.0.0.1:9")) as client:
        answer = client.post("/v1/embeddings", json={"model": model, "input": "a"})
        state = client.get(f"/v1/models/{model}").json()["state"]

    assert (answer.status_code, state) == (400, "absent")
    assert "is a reranker" in answer.text


def test_an_unsupported_task_of_an_embedding_model_names_this_one(client: TestClient) -> None:
    answer = client.post("/pooling", json={"model": MODEL, "input": "a"})
    assert "or texts to /v1/embeddings" in answer.json()["error"]["message"]


def test_an_unknown_model_is_a_404(client: TestClient) -> None:
    assert client.post("/v1/embeddings", json={"model": "nope", "input": "a"}).status_code == 404
