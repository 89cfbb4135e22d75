"""What the server does about slow bodies, browsers, and callers in a hurry."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.app import DOCUMENTS, PATIENCE, QUERY, AppUnderTest, GatedScorer, error_message

from .conftest import OpenApp, Serve

PAGE = "https://chat.example"


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/nowhere", "/docs"])
def test_every_answer_tells_browsers_to_be_careful(app: AppUnderTest, path: str) -> None:
    headers = app.client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"


def preflight(app: AppUnderTest, origin: str) -> dict[str, str]:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    return dict(app.client.options("/v1/rerank", headers=asked).headers)


def test_pages_may_not_use_the_server_unless_they_are_listed(open_app: OpenApp) -> None:
    assert "access-control-allow-origin" not in preflight(open_app(), PAGE)
    app = open_app(cors_origins=(PAGE,), keys=("key",))
    assert preflight(app, PAGE)["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in preflight(app, "https://other.example")
    refused = app.client.post("/v1/rerank", json={}, headers={"Origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)


def test_a_body_that_does_not_come_is_408(serve: Serve) -> None:
    _, server = serve(receive_timeout=0.2)
    with server.connect() as connection:
        connection.sendall(
            b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99\r\n\r\n{"
        )
        answer = connection.recv(65536).decode()
    assert answer.startswith("HTTP/1.1 408 ")
    said = json.loads(answer.partition("\r\n\r\n")[2])
    assert said["message"] == "The request body did not come within 0.2 s (RECEIVE_TIMEOUT)."


def test_a_long_wait_for_the_answer_is_no_slow_body(serve: Serve) -> None:
    scorer = GatedScorer()
    _, server = serve(scorer, receive_timeout=2.0)
    with ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(server.post, "/v1/rerank", {"query": QUERY, "documents": DOCUMENTS})
        assert scorer.reached.wait(PATIENCE)
        with pytest.raises(TimeoutError):
            waiting.result(3.0)
        scorer.gate.set()
        assert waiting.result(PATIENCE)[0] == 200


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan", "inf", ""])
def test_a_wrong_deadline_is_named(app: AppUnderTest, given: str) -> None:
    response = app.client.post(
        "/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}, headers={"X-Request-Timeout": given}
    )
    assert "X-Request-Timeout" in error_message(response, 400, "BadRequestError")


def test_a_deadline_ends_the_work(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer)
    body = {"query": QUERY, "documents": DOCUMENTS}
    response = app.client.post("/v1/rerank", json=body, headers={"X-Request-Timeout": "0.2"})
    scorer.gate.set()
    said = error_message(response, 504, "TimeoutError")
    assert said == "The request was not done within 0.2 s (X-Request-Timeout). Send fewer documents."
    assert app.rerank().status_code == 200
