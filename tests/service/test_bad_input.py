"""A wrong request is a 400 that says what is wrong, never a 422 and never a 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.app import AppUnderTest, error_message

NOT_A_TEXT = "Input should be a string, or an object with a string field `text`, or with `content` of text parts"


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"query": 3}, "body.query", f"query: {NOT_A_TEXT} (got 3)"),
        ({"query": ["q"]}, "body.query", "query: "),
        ({"query": {"words": "q"}}, "body.query", "query: "),
        ({"query": None}, "body.query", "query: Field required"),
        ({"documents": None}, "body.documents", "documents: Field required"),
        ({"documents": 3}, "body.documents", "documents: "),
        ({"documents": ["a", None]}, "body.documents.1", f"documents.1: {NOT_A_TEXT} (got null)"),
        ({"documents": ["a", "b", 7]}, "body.documents.2", "documents.2: "),
        ({"documents": ["a", True]}, "body.documents.1", "documents.1: "),
        ({"documents": [["a"], "b"]}, "body.documents.0", "documents.0: "),
        ({"documents": [{"title": "a"}]}, "body.documents.0", "documents.0: "),
        ({"documents": [{"text": None}]}, "body.documents.0", "documents.0: "),
        ({"documents": [{"text": ["a"]}]}, "body.documents.0", "documents.0: "),
        ({"top_n": -1}, "body.top_n", "top_n: Input should be greater than or equal to 0 (got -1)"),
        ({"top_n": "-1"}, "body.top_n", "top_n: "),
        ({"top_n": 1.5}, "body.top_n", "top_n: "),
        ({"top_n": "x"}, "body.top_n", "top_n: "),
        ({"top_n": ""}, "body.top_n", "top_n: "),
        ({"top_n": [1]}, "body.top_n", "top_n: "),
        ({"top_k": -1}, "body.top_k", "top_k: "),
        ({"return_documents": "maybe"}, "body.return_documents", "return_documents: "),
        ({"truncate": "maybe"}, "body.truncate", "truncate: "),
        ({"use_activation": "maybe"}, "body.use_activation", "use_activation: "),
        ({"model": 3}, "body.model", "model: "),
        ({"instruction": ["x"]}, "body.instruction", "instruction: "),
        ({"truncate_prompt_tokens": -2}, "body.truncate_prompt_tokens", "truncate_prompt_tokens: "),
        ({"max_tokens_per_doc": -1}, "body.max_tokens_per_doc", "max_tokens_per_doc: "),
        ({"model": "m" * 513}, "body.model", "model: String should have at most 512 characters"),
        ({"instruction": "i" * 16_385}, "body.instruction", "instruction: String should have at most 16384 characters"),
        ({"truncation_side": "right" * 100}, "body.truncation_side", "truncation_side: "),
        ({"rank_fields": ["f" * 513]}, "body.rank_fields.0", "rank_fields.0: String should have at most 512 "),
        ({"rank_fields": [3, 4]}, "body.rank_fields.0", "rank_fields.0: "),
        ({"rank_fields": ["f"] * 33}, "body.rank_fields", "rank_fields: List should have at most 32 items"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named(app: AppUnderTest, fields: dict[str, Any], param: str, said: str) -> None:
    response = app.rerank(**fields)
    message = error_message(response, 400, "Bad Request")
    assert message.startswith(f"1 validation error: {said}")
    assert response.json()["error"]["param"] == param


def test_no_documents(app: AppUnderTest) -> None:
    message = error_message(app.rerank(documents=[]), 400, "BadRequestError")
    assert message == "At least one text_pair element must be given"


def test_too_many_documents(app: AppUnderTest) -> None:
    response = app.rerank(documents=["a"] * 10_000)
    message = error_message(response, 400, "BadRequestError")
    assert "10000 documents" in message
    assert "at most 5000" in message
    assert "MAX_DOCUMENTS" in message
    assert response.json()["error"]["param"] == "documents"


def test_of_many_wrong_documents_the_first_is_named(app: AppUnderTest) -> None:
    message = error_message(app.rerank(documents=["a", *range(20)]), 400, "Bad Request")
    assert message == f"1 validation error: documents.1: {NOT_A_TEXT} (got 0)"


def test_every_wrong_field_is_named(app: AppUnderTest) -> None:
    message = error_message(app.rerank(top_n=-1, documents=3, use_activation="maybe"), 400, "Bad Request")
    assert message.startswith("3 validation errors: ")
    assert all(f"{field}: Input should be" in message for field in ("documents", "top_n", "use_activation"))


def test_a_long_wrong_value_is_not_repeated_in_full(app: AppUnderTest) -> None:
    message = error_message(app.rerank(top_n="x" * 100_000), 400, "Bad Request")
    assert len(message) < 300


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"query": "\ud800"}, "query"),
        ({"documents": ["a", "b\udfff"]}, "documents.1"),
        ({"documents": [{"text": "\udfff"}]}, "documents.0"),
        ({"model": "\ud800"}, "model"),
        ({"instruction": "\ud800"}, "instruction"),
        ({"top_n": "\ud800"}, "top_n"),
    ],
    ids=ascii,
)
def test_half_a_surrogate_pair_is_no_text(app: AppUnderTest, fields: dict[str, Any], place: str) -> None:
    message = error_message(app.rerank(**fields), 400, "Bad Request")
    assert message.startswith(f"1 validation error: {place}: ")
    assert "nicode" in message


def test_a_whole_surrogate_pair_is_a_text(client: TestClient) -> None:
    response = client.post("/v1/rerank", content=b'{"query": "q", "documents": ["\\ud83d\\ude00"]}')
    assert response.json()["results"][0]["document"]["text"] == "\U0001f600"


def test_nul_is_a_character_like_any_other(app: AppUnderTest) -> None:
    assert app.rerank(query="a\x00b", documents=["\x00"]).status_code == 200


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"query": "q", "documents": ["a"', "the body is not valid JSON: Expecting ',' delimiter (character 32)"),
        (b"{", "the body is not valid JSON: "),
        (b"{'query': 'q'}", "the body is not valid JSON: "),
        (b'{"query": "q" "documents": []}', "the body is not valid JSON: "),
        (b'{"query": "q", "documents": ["a"]} x', "the body is not valid JSON: Extra data"),
        (b"\xff\xfe", "the body is not valid JSON: "),
        (b"", "the body must be a JSON object"),
        (b"null", "the body must be a JSON object"),
        (b"[]", "the body must be a JSON object"),
        (b'[{"query": "q"}]', "the body must be a JSON object"),
        (b'"text"', "the body must be a JSON object"),
        (b"3", "the body must be a JSON object"),
        (b"true", "the body must be a JSON object"),
        (b'{"query": "q", "documents": ["a"], "top_n": NaN}', "top_n: "),
        (b'{"query": "q", "documents": ["a"], "top_n": 1e999}', "top_n: "),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/score"])
def test_a_body_that_is_no_json_object(client: TestClient, path: str, raw: bytes, said: str) -> None:
    message = error_message(client.post(path, content=raw), 400, "Bad Request")
    assert said in message or (path == "/score" and "text_1: Field required" in message)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"query": "q", "documents": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"query": "q", "documents": ["a"], "top_n": ' + b"1" * 5000 + b"}",
    ],
    ids=["brackets", "braces", "nested documents", "a number of 5000 digits"],
)
def test_a_body_the_parser_gives_up_on(client: TestClient, raw: bytes) -> None:
    message = error_message(client.post("/v1/rerank", content=raw), 400, "BadRequestError")
    assert message == "The body could not be read as JSON."


def test_a_body_in_another_encoding_is_told_so(client: TestClient) -> None:
    raw = '{"query": "首都", "documents": ["北京"]}'.encode("gbk")
    message = error_message(client.post("/v1/rerank", content=raw), 400, "BadRequestError")
    assert message == "The body is not UTF-8 (byte 11): send JSON in UTF-8."


@pytest.mark.parametrize("depth", [100, 900, 940, 960, 970, 980, 990])
@pytest.mark.parametrize("field", ["query", "documents", "top_n", "unknown"])
@pytest.mark.parametrize(("opening", "inside", "closing"), [("[", "", "]"), ('{"text":', "1", "}")])
def test_nesting_just_below_the_parsers_limit(
    client: TestClient, depth: int, field: str, opening: str, inside: str, closing: str
) -> None:
    nested = opening * depth + inside + closing * depth
    fields = {"query": '"q"', "documents": '["a"]'} | {field: nested}
    raw = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    assert client.post("/v1/rerank", content=f"{{{raw}}}").status_code in (200, 400)


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "nonsense",
    ],
)
@pytest.mark.parametrize("path", ["/v1/rerank", "/score"])
def test_a_content_type_that_is_not_json(client: TestClient, path: str, content_type: str) -> None:
    raw = b'{"query": "q", "documents": ["a"], "text_1": "q", "text_2": "a"}'
    message = error_message(
        client.post(path, content=raw, headers={"Content-Type": content_type}), 400, "BadRequestError"
    )
    assert "Content-Type: application/json" in message


@pytest.mark.parametrize("name", ["nope", "acme/nope", "../../etc/passwd", "x" * 512, "a\nb"], ids=lambda n: n[:20])
def test_an_unknown_model(app: AppUnderTest, name: str) -> None:
    message = error_message(app.rerank(model=name), 404, "NotFoundError")
    shown = name[:200].replace("\n", "�")
    assert message.startswith(f"The model `{shown}` does not exist. Known models: ")
    assert len(message) < 600


def test_an_unknown_model_is_told_the_names_most_like_it(app: AppUnderTest) -> None:
    message = error_message(app.rerank(model="acme/word"), 404, "NotFoundError")
    assert message.startswith("The model `acme/word` does not exist. Known models: acme/words, ")


def test_more_values_than_the_server_reads_are_refused(app: AppUnderTest) -> None:
    message = error_message(app.rerank(metadata=[[]] * 250_000), 400, "BadRequestError")
    assert "more than 500000 values and names" in message
    assert app.rerank(metadata=[[]] * 249_000).status_code == 200


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_values_are_counted_in_every_encoding(client: TestClient, encoding: str) -> None:
    raw = json.dumps({"query": 'q"', "documents": ["a"], "metadata": [{}] * 250_000}).encode(encoding)
    assert "values and names" in error_message(client.post("/v1/rerank", content=raw), 400, "BadRequestError")


def test_what_stands_in_strings_is_no_structure(app: AppUnderTest) -> None:
    texts = ["[{,}]" * 200_000, '"' * 1_000_000, "\\" * 1_000_001, '\\"[,' * 300_000, "7" * 5_000_000]
    assert app.rerank(documents=texts, return_documents=False).status_code == 200


def test_the_nearest_known_model_comes_first(app: AppUnderTest) -> None:
    message = error_message(app.rerank(model="bge-reranker-v2-m4"), 404, "NotFoundError")
    assert "Known models: BAAI/bge-reranker-v2-m3, " in message


def test_a_limit_beyond_every_integer_is_no_limit(app: AppUnderTest) -> None:
    assert app.rerank(max_tokens_per_doc=2**64).status_code == 200


def test_a_pair_of_no_tokens_is_refused_by_the_fields_name(app: AppUnderTest) -> None:
    response = app.rerank(truncate_prompt_tokens=0)

    assert error_message(response, 400, "BadRequestError").startswith("truncate_prompt_tokens ")
