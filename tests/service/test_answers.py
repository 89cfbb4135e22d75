"""What a ranking looks like: each rule is one some real client breaks without."""

from __future__ import annotations

import json
import re

import pytest
from fastapi.testclient import TestClient

from tests.support.app import DOCUMENTS, MODEL, QUERY, AppUnderTest, FixedScorer, indices

from .conftest import OpenApp

RERANK_PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")


@pytest.mark.parametrize("path", RERANK_PATHS)
def test_every_path_gives_the_same_answer(client: TestClient, path: str) -> None:
    response = client.post(path, json={"query": QUERY, "documents": DOCUMENTS})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["id", "model", "usage", "results", "object", "created", "meta"]
    assert indices(response) == [1, 0, 2]


def test_a_document_is_an_object_with_its_text(app: AppUnderTest) -> None:
    for result in app.rerank().json()["results"]:
        assert result["document"] == {"text": DOCUMENTS[result["index"]], "multi_modal": None}


@pytest.mark.parametrize("fields", [{}, {"return_documents": True}, {"return_documents": None}])
def test_an_ordinary_item_holds_five_keys_only(app: AppUnderTest, fields: dict[str, object]) -> None:
    for result in app.rerank(**fields).json()["results"]:
        assert list(result) == ["index", "document", "relevance_score", "tokens", "truncated"]


def test_the_document_is_absent_only_when_it_is_not_wanted(app: AppUnderTest) -> None:
    for result in app.rerank(return_documents=False).json()["results"]:
        assert list(result) == ["index", "relevance_score", "tokens", "truncated"]


def test_the_body_names_itself_its_model_and_its_counts(app: AppUnderTest) -> None:
    body = app.rerank().json()
    tokens = sum(len(QUERY.split()) + len(document.split()) + 3 for document in DOCUMENTS)
    assert body["object"] == "rerank"
    assert body["model"] == MODEL.id
    assert body["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    stages = [(stage["model"], stage["documents"], stage["tokens"]) for stage in body["meta"].pop("stages")]
    assert stages == [(MODEL.id, len(DOCUMENTS), tokens)]
    assert [(attempt["model"], attempt["outcome"]) for attempt in body["meta"].pop("route")] == [(MODEL.id, "ok")]
    assert body["meta"] == {
        "api_version": {"version": "2", "is_experimental": False},
        "billed_units": {"input_tokens": tokens, "output_tokens": 0, "search_units": 1, "classifications": 0},
        "tokens": {"input_tokens": tokens, "output_tokens": 0},
        "model_reason": "default: the test says so",
        "degraded": False,
        "partial": False,
        "calibrated": False,
        "cached": 0,
    }
    assert "code" not in body


def test_counters_are_ints_and_scores_are_floats(app: AppUnderTest) -> None:
    body = app.rerank().json()
    for counter in (body["created"], body["usage"]["total_tokens"], body["results"][0]["index"]):
        assert type(counter) is int
    for result in body["results"]:
        assert type(result["relevance_score"]) is float
        assert 0 <= result["relevance_score"] <= 1


@pytest.mark.parametrize(("logit", "printed"), [(40.0, "1.0"), (0.0, "0.5"), (-800.0, "0.0")])
def test_a_whole_score_is_printed_as_a_float(open_app: OpenApp, logit: float, printed: str) -> None:
    text = open_app(FixedScorer(logit)).rerank(documents=["a"]).text
    assert re.findall(r'"relevance_score":([^,}]+)', text) == [printed]


def test_a_whole_logit_is_printed_as_a_float(open_app: OpenApp) -> None:
    text = open_app(FixedScorer(3.0)).rerank(documents=["a"], use_activation=False).text
    assert '"relevance_score":3.0' in text


def test_best_first_and_ties_by_place(app: AppUnderTest) -> None:
    documents = ["x", "capital", "capital of", "y", "of capital", "z"]
    assert indices(app.rerank(documents=documents)) == [2, 4, 1, 0, 3, 5]


def test_scores_that_print_alike_still_rank_by_logit(open_app: OpenApp) -> None:
    response = open_app(FixedScorer(40.0, 50.0, 45.0)).rerank(documents=["a", "b", "c"])
    assert indices(response) == [1, 2, 0]
    assert {result["relevance_score"] for result in response.json()["results"]} == {1.0}


def test_without_top_n_every_document_comes_back(app: AppUnderTest) -> None:
    documents = [f"document {number}" for number in range(1000)]
    assert sorted(indices(app.rerank(documents=documents))) == list(range(1000))


def test_top_n_takes_the_best(app: AppUnderTest) -> None:
    assert indices(app.rerank(top_n=2)) == [1, 0]


def test_usage_counts_documents_that_top_n_leaves_out(app: AppUnderTest) -> None:
    assert app.rerank(top_n=1).json()["usage"] == app.rerank().json()["usage"]


def test_raw_logits_on_request(app: AppUnderTest) -> None:
    scores = [result["relevance_score"] for result in app.rerank(use_activation=False).json()["results"]]
    assert scores == [2.0, -2.0, -2.0]


def test_texts_come_back_as_they_were_sent(app: AppUnderTest) -> None:
    documents = ["機器學習\u2028", "a\x00b", "\U0001f600", ' "quoted" \\ \t', "\ufeff"]
    results = app.rerank(documents=documents).json()["results"]
    assert {result["index"]: result["document"]["text"] for result in results} == dict(enumerate(documents))


def test_one_document_of_two_megabytes(app: AppUnderTest) -> None:
    document = "capital " * 250_000
    response = app.rerank(documents=[document])
    assert response.status_code == 200
    assert response.json()["results"][0]["document"]["text"] == document


def test_the_most_documents_allowed(open_app: OpenApp) -> None:
    assert len(indices(open_app(max_documents=20).rerank(documents=["a"] * 20))) == 20


def test_the_answer_is_json_to_a_strict_reader(app: AppUnderTest) -> None:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    json.loads(app.rerank().text, parse_constant=refuse)
