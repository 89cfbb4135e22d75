"""Long documents are cut, the query never; who wants no cutting says so. One word is one token here."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.app import AppUnderTest, error_message, indices

LIMIT = 512
SPECIALS = 3
LONG = "x " * 1000


def tokens(app: AppUnderTest, **fields: Any) -> int:
    response = app.rerank(query="q", **fields)
    assert response.status_code == 200, response.text
    total = response.json()["usage"]["total_tokens"]
    assert isinstance(total, int)
    return total


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, LIMIT),
        ({"truncate": True}, LIMIT),
        ({"truncate_prompt_tokens": -1}, LIMIT),
        ({"truncate_prompt_tokens": None}, LIMIT),
        ({"truncate_prompt_tokens": LIMIT}, LIMIT),
        ({"truncate_prompt_tokens": 100}, 100),
        ({"truncate_prompt_tokens": "100"}, 100),
        ({"max_tokens_per_doc": 0}, LIMIT),
        ({"max_tokens_per_doc": 20}, 1 + SPECIALS + 20),
        ({"max_tokens_per_doc": 10**6}, LIMIT),
        ({"max_tokens_per_doc": 20, "truncate_prompt_tokens": 10}, 10),
        ({"max_tokens_per_doc": 20, "truncate": False}, 1 + SPECIALS + 20),
    ],
    ids=str,
)
def test_how_much_is_read(app: AppUnderTest, fields: dict[str, Any], expected: int) -> None:
    assert tokens(app, documents=[LONG], **fields) == expected


def test_the_documents_tail_is_cut(app: AppUnderTest) -> None:
    documents = ["x " * 600 + "needle", "x x x needle", "needle " + "x " * 600]
    assert indices(app.rerank(query="needle", documents=documents)) == [1, 2, 0]


def test_a_document_comes_back_whole_though_it_was_cut(app: AppUnderTest) -> None:
    assert app.rerank(documents=[LONG]).json()["results"][0]["document"]["text"] == LONG


def test_a_document_that_would_be_cut_is_named_where_cutting_is_forbidden(app: AppUnderTest) -> None:
    response = app.rerank(query="q", documents=["short", LONG], truncate=False)
    message = error_message(response, 400, "BadRequestError")
    assert message.startswith("This model's maximum context length is 512 tokens. However, documents.1 ")
    assert message.endswith("(parameter=input_tokens, value=1004)")
    assert response.json()["error"]["param"] == "input_tokens"


@pytest.mark.parametrize("truncate", [False, "false"])
def test_what_fits_passes_where_cutting_is_forbidden(app: AppUnderTest, truncate: object) -> None:
    assert tokens(app, documents=["x " * (LIMIT - SPECIALS - 1)], truncate=truncate) == LIMIT


@pytest.mark.parametrize("asked", [LIMIT + 1, 100_000, 10**30])
def test_more_than_the_model_reads(app: AppUnderTest, asked: int) -> None:
    response = app.rerank(truncate_prompt_tokens=asked)
    message = error_message(response, 400, "BadRequestError")
    assert "truncate_prompt_tokens value is greater than max_model_len (512)" in message


@pytest.mark.parametrize(
    "fields",
    [{"query": "q " * 600}, {"query": "q " * 509}, {"query": "q", "truncate_prompt_tokens": 4}],
    ids=["longer than the model", "no room left", "no room asked for"],
)
def test_a_query_that_leaves_no_room(app: AppUnderTest, fields: dict[str, Any]) -> None:
    response = app.rerank(**fields)
    assert "no room for a document" in error_message(response, 400, "BadRequestError")
    assert response.json()["error"]["param"] == "query"


def test_the_longest_query_that_leaves_room(app: AppUnderTest) -> None:
    assert app.rerank(query="q " * 508, documents=["a b c"]).json()["usage"]["total_tokens"] == LIMIT


def test_the_score_endpoint_cuts_alike(app: AppUnderTest) -> None:
    body = {"text_1": "q", "text_2": ["short", LONG]}
    assert app.client.post("/score", json=body).json()["usage"]["total_tokens"] == 5 + LIMIT
    refused = app.client.post("/score", json=body | {"truncate": False})
    assert "documents.1" in error_message(refused, 400, "BadRequestError")
