"""A request's id: taken or made, sent back, and written beside everything the server says about it."""

from __future__ import annotations

import io
import logging
import re

import pytest
from fastapi.testclient import TestClient

from tests.support.app import DOCUMENTS, QUERY, AppUnderTest, BrokenScorer

from .conftest import OpenApp

BODY = {"query": QUERY, "documents": DOCUMENTS}
MADE = re.compile(r"[0-9a-f]{32}")


@pytest.mark.parametrize("given", ["abc-123", "a", "A.b_c:d-e", "0" * 128])
def test_a_given_id_comes_back(client: TestClient, given: str) -> None:
    response = client.post("/v1/rerank", json=BODY, headers={"X-Request-Id": given})
    assert response.headers["x-request-id"] == given
    assert response.json()["id"] == f"score-{given}"


def test_the_score_endpoint_carries_it_too(client: TestClient) -> None:
    response = client.post("/score", json={"text_1": "a", "text_2": "b"}, headers={"X-Request-Id": "abc"})
    assert response.json()["id"] == "score-abc"


@pytest.mark.parametrize(
    "given",
    [None, "", "a" * 129, "a b", "a\nb", "a\r\nX-Evil: 1", "a\x00", "<script>", '"', "é", "a/b", "abc\n"],
    ids=ascii,
)
def test_an_id_is_made_where_none_or_a_hostile_one_is_given(client: TestClient, given: str | None) -> None:
    headers = {} if given is None else {b"X-Request-Id": given.encode()}
    response = client.post("/v1/rerank", json=BODY, headers=headers)
    made = response.headers["x-request-id"]
    assert MADE.fullmatch(made)
    assert response.json()["id"] == f"score-{made}"
    assert "x-evil" not in response.headers


def test_each_request_gets_its_own(app: AppUnderTest) -> None:
    assert len({app.rerank().json()["id"] for _ in range(5)}) == 5


@pytest.mark.parametrize(("path", "status"), [("/health", 200), ("/nope", 404), ("/v1/models", 200), ("/docs", 200)])
def test_every_answer_has_one(client: TestClient, path: str, status: int) -> None:
    response = client.get(path, headers={"X-Request-Id": "abc"})
    assert (response.status_code, response.headers["x-request-id"]) == (status, "abc")


def test_an_error_of_the_server_says_it(open_app: OpenApp) -> None:
    app = open_app(BrokenScorer(RuntimeError("x")))
    response = app.client.post("/v1/rerank", json=BODY, headers={"X-Request-Id": "abc"})
    assert response.json()["message"].endswith("(request id abc)")


def test_the_log_line_carries_it(client: TestClient, server_log: io.StringIO) -> None:
    client.post("/v1/rerank", json=BODY, headers={"X-Request-Id": "abc-123"})
    lines = [line for line in server_log.getvalue().splitlines() if "[abc-123]" in line]
    assert len(lines) == 1
    assert re.search(
        r"rerank\.access \[abc-123\] POST /v1/rerank 200 [\d.]+ ms documents=3 model=acme/words tokens=28$", lines[0]
    )


def test_an_error_in_the_log_carries_it(
    open_app: OpenApp, server_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = open_app()
    monkeypatch.setattr(app.gateway, "score", None)
    app.client.post("/v1/rerank", json=BODY, headers={"X-Request-Id": "abc-123"})
    assert re.search(r"ERROR\s+rerank\.access \[abc-123\] unexpected error\nTraceback", server_log.getvalue())


def test_a_path_cannot_forge_a_log_line(client: TestClient, server_log: io.StringIO) -> None:
    client.get("/v1/x%0d%0aINFO%20forged%1b[31m")
    assert [line for line in server_log.getvalue().splitlines() if "forged" in line] == [
        line for line in server_log.getvalue().splitlines() if r"GET /v1/x\r\nINFO forged\x1b[31m 404" in line
    ]


def test_texts_stay_out_of_the_log(app: AppUnderTest, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    app.rerank(query="private-query", documents=["private-document"])
    app.rerank(query="private-query", documents=["private-document", 3])
    assert "POST /v1/rerank 200" in caplog.text
    assert "private" not in caplog.text


@pytest.mark.parametrize("path", ["/health", "/ping", "/load"])
def test_what_monitors_ask_all_day_is_quiet(client: TestClient, caplog: pytest.LogCaptureFixture, path: str) -> None:
    caplog.set_level(logging.INFO, logger="rerank.access")
    client.get(path)
    client.get("/version")
    assert [record.getMessage().split()[1] for record in caplog.records if record.name == "rerank.access"] == [
        "/version"
    ]
