"""Scores in request order: one text with one, one with many, many with as many."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from tests.support.app import MODEL, AppUnderTest, FixedScorer, error_message

from .conftest import OpenApp

SCORE_PATHS = ("/v1/score", "/score")
ALIASES = (("text_1", "text_2"), ("queries", "documents"), ("queries", "items"), ("data_1", "data_2"))


def scores(response: Response) -> list[float]:
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [item["score"] for item in data]


@pytest.mark.parametrize("path", SCORE_PATHS)
def test_the_answer(client: TestClient, path: str) -> None:
    response = client.post(path, json={"text_1": "a", "text_2": ["a", "b"]})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["id", "object", "created", "model", "data", "usage", "meta"]
    assert (body["object"], body["model"]) == ("list", MODEL.id)
    assert [list(item) for item in body["data"]] == [["index", "object", "score"]] * 2
    assert {item["object"] for item in body["data"]} == {"score"}
    assert body["usage"] == {
        "prompt_tokens": 10,
        "total_tokens": 10,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }


@pytest.mark.parametrize(
    ("first", "second", "logits"),
    [
        ("a", "a", [2.0]),
        (["a"], "a", [2.0]),
        ("a", ["a"], [2.0]),
        ("a", ["b", "a", "b a"], [-2.0, 2.0, 2.0]),
        (["a"], ["b", "a"], [-2.0, 2.0]),
        (["a", "b"], ["a", "a"], [2.0, -2.0]),
        ({"text": "a"}, [{"text": "a"}, "b"], [2.0, -2.0]),
        ("a", "", [-2.0]),
    ],
    ids=str,
)
def test_pairs(client: TestClient, first: object, second: object, logits: list[float]) -> None:
    assert scores(client.post("/score", json={"text_1": first, "text_2": second, "use_activation": False})) == logits


@pytest.mark.parametrize(("first", "second"), ALIASES)
def test_names_of_the_fields(client: TestClient, first: str, second: str) -> None:
    assert len(scores(client.post("/score", json={first: "a", second: ["a", "b"]}))) == 2


def test_scores_are_relevance_by_default_and_print_as_floats(open_app: OpenApp) -> None:
    app = open_app(FixedScorer(40.0))
    assert '"score":1.0}' in app.client.post("/score", json={"text_1": "a", "text_2": "b"}).text


@pytest.mark.parametrize(
    ("first", "second", "lengths"),
    [(["a", "b"], ["a"], "2:1"), (["a", "b"], "a", "2:1"), (["a", "b"], ["a", "b", "c"], "2:3"), ([], ["a"], "0:1")],
    ids=str,
)
def test_lengths_that_do_not_match(client: TestClient, first: object, second: object, lengths: str) -> None:
    message = error_message(client.post("/score", json={"text_1": first, "text_2": second}), 400, "BadRequestError")
    assert message == f"Input lengths must be either 1:1, 1:N or N:N (got {lengths})"


@pytest.mark.parametrize(("first", "second"), [([], []), ("a", []), (["a"], [])], ids=str)
def test_nothing_to_score(client: TestClient, first: object, second: object) -> None:
    message = error_message(client.post("/score", json={"text_1": first, "text_2": second}), 400, "BadRequestError")
    assert message == "At least one text_pair element must be given"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"text_2": "a"}, "text_1: Field required"),
        ({"text_1": "a"}, "text_2: Field required"),
        ({"text_1": None, "text_2": "a"}, "text_1: Field required"),
        ({"text_1": "a", "text_2": ["b", 3]}, "text_2.1: "),
        ({"queries": "a", "items": ["b", None]}, "items.1: "),
        ({"queries": [3], "documents": "b"}, "queries.0: "),
        ({"text_1": "a", "text_2": ["b", "\ud800"]}, "text_2.1: "),
    ],
    ids=ascii,
)
def test_a_wrong_value_is_named(app: AppUnderTest, body: dict[str, Any], said: str) -> None:
    message = error_message(app.post("/score", body), 400, "Bad Request")
    assert message.startswith(f"1 validation error: {said}")


@pytest.mark.parametrize("first", ["", " ", ["a", ""]], ids=str)
def test_a_blank_query_is_scored(client: TestClient, first: object) -> None:
    assert len(scores(client.post("/score", json={"text_1": first, "text_2": ["a", "b"]}))) == 2


def test_nulls_and_unknown_fields(client: TestClient) -> None:
    optional = dict.fromkeys(("model", "truncate_prompt_tokens", "max_tokens_per_doc", "use_activation", "user"))
    assert len(scores(client.post("/score", json={"text_1": "a", "text_2": "b", "x": 1} | optional))) == 1


def test_an_unknown_model(client: TestClient) -> None:
    response = client.post("/score", json={"text_1": "a", "text_2": "b", "model": "nope"})
    error_message(response, 404, "NotFoundError")
