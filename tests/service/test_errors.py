"""The error table: one status for each way things go wrong, one body for all."""

from __future__ import annotations

import http.client
import json
import threading

import pytest

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.core import ScoringRequest
from rerank.errors import FetchFailure, WeightsBroken, WeightsMissing
from rerank.results import ScoringResult
from rerank.scheduling.batching import BatchBudget
from tests.support.app import PATIENCE, AppUnderTest, GatedScorer, error_message

from .conftest import OpenApp, Serve

SECRET = "/home/operator/models"


def test_400_bad_request(app: AppUnderTest) -> None:
    error_message(app.rerank(query=None), 400, "Bad Request")


def test_401_unauthorized(open_app: OpenApp) -> None:
    response = open_app(keys=("k",)).rerank()
    error_message(response, 401, "AuthenticationError")
    assert response.headers["www-authenticate"] == "Bearer"


def test_404_unknown_model(app: AppUnderTest) -> None:
    error_message(app.rerank(model="nope"), 404, "NotFoundError")


@pytest.mark.parametrize(
    ("method", "path", "status", "detail"),
    [
        ("GET", "/nope", 404, "Not Found"),
        ("POST", "/v1/nope", 404, "Not Found"),
        ("POST", "/", 405, "Method Not Allowed"),
        ("GET", "/v1/rerank", 405, "Method Not Allowed"),
        ("PUT", "/score", 405, "Method Not Allowed"),
        ("DELETE", "/v1/models", 405, "Method Not Allowed"),
    ],
)
def test_404_and_405_of_routes_are_said_as_vllm_says_them(
    app: AppUnderTest, method: str, path: str, status: int, detail: str
) -> None:
    response = app.client.request(method, path)
    assert (response.status_code, response.json()) == (status, {"detail": detail})


def test_413_by_the_declared_length(open_app: OpenApp) -> None:
    app = open_app(max_body_bytes=2000)
    message = error_message(app.rerank(documents=["x" * 2000]), 413, "RequestTooLargeError")
    assert "2000 bytes (MAX_BODY_BYTES)" in message
    assert app.rerank().status_code == 200


@pytest.mark.parametrize(("extra", "status"), [(0, 200), (1, 413)])
def test_413_starts_one_byte_beyond_the_limit(open_app: OpenApp, extra: int, status: int) -> None:
    raw = json.dumps({"query": "q", "documents": ["a"]}).encode().ljust(2000 + extra)
    assert open_app(max_body_bytes=2000).client.post("/v1/rerank", content=raw).status_code == status


def test_413_while_chunks_still_come(serve: Serve) -> None:
    _, server = serve(max_body_bytes=2000)
    with server.connect() as connection:
        connection.sendall(b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        connection.sendall((b"3e8\r\n" + b" " * 1000 + b"\r\n") * 3)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = json.loads(response.read())
    assert response.status == 413
    assert body["error"]["type"] == "RequestTooLargeError"
    assert body["message"] == body["detail"] == body["error"]["message"]


def test_chunks_within_the_limit_are_read(serve: Serve) -> None:
    _, server = serve(max_body_bytes=2000)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    chunks = iter([b'{"query": "q", ', b'"documents": ["a"', b"]}"])
    connection.request("POST", "/v1/rerank", chunks, {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, len(json.loads(response.read())["results"])) == (200, 1)
    connection.close()


def test_429_when_too_much_is_in_flight(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, max_inflight_documents=4)
    first = app.rerank_meanwhile(documents=["a", "b", "c"])
    app.scheduler.wait_for_jobs(1)
    response = app.rerank(documents=["d", "e"])
    message = error_message(response, 429, "RateLimitError")
    assert response.headers["retry-after"] == "1"
    assert "3 documents are in flight (maximum 4)" in message
    scorer.gate.set()
    assert first.result(PATIENCE).status_code == 200
    assert app.rerank(documents=["d", "e"]).status_code == 200


def test_a_request_alone_is_never_too_much(open_app: OpenApp) -> None:
    assert open_app(max_inflight_documents=1).rerank().status_code == 200


def test_500_when_nobody_expected_it_and_nothing_leaks(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def explode(request: ScoringRequest) -> ScoringResult:
        raise RuntimeError(SECRET)

    app = open_app()
    monkeypatch.setattr(app.gateway, "score", explode)
    response = app.rerank()
    message = error_message(response, 500, "InternalServerError")
    assert message == f"Internal server error. (request id {response.headers['x-request-id']})"
    assert SECRET in caplog.text


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WeightsMissing("python download_model.py acme/words", FetchFailure.UNREACHABLE), "download_model.py"),
        (WeightsBroken("words/model.safetensors is cut short"), "model.safetensors"),
        (RuntimeError(SECRET), "the server's log says why"),
    ],
    ids=["missing", "broken", "unexpected"],
)
def test_503_when_the_model_cannot_be_loaded(open_app: OpenApp, error: Exception, said: str) -> None:
    def load(card: ModelCard) -> LoadedModel:
        raise error

    message = error_message(open_app(load=load).rerank(), 503, "ServiceUnavailableError")
    assert said in message
    assert SECRET not in message


def test_503_while_the_model_is_still_loading(open_app: OpenApp) -> None:
    may_load = threading.Event()
    loads = []

    def load(card: ModelCard) -> LoadedModel:
        loads.append(card.id)
        assert may_load.wait(PATIENCE)
        return app.loaded(card)

    app = open_app(load=load, timeout=0.2)
    response = app.rerank()
    message = error_message(response, 503, "ServiceUnavailableError")
    assert message.startswith("acme/words is still loading after 0.2 s")
    assert response.headers["retry-after"] == "5"
    may_load.set()
    assert any(app.rerank().status_code == 200 for _ in range(50))
    assert loads == ["acme/words"]


def test_no_time_left_for_a_model_in_memory_is_no_load(open_app: OpenApp) -> None:
    app = open_app()
    assert app.rerank().status_code == 200
    response = app.client.post(
        "/v1/rerank", json={"query": "a", "documents": ["b"]}, headers={"X-Request-Timeout": "1e-9"}
    )
    assert "was not done within 1e-09 s (X-Request-Timeout)" in error_message(response, 504, "TimeoutError")


def test_503_when_the_server_stops(open_app: OpenApp) -> None:
    app = open_app()
    app.scheduler.stop(PATIENCE)
    assert error_message(app.rerank(), 503, "ServiceUnavailableError") == "The server is shutting down."


def test_503_for_those_in_line_when_the_server_stops(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, batch=BatchBudget(1, 16384))
    waiting = app.rerank_meanwhile()
    app.scheduler.wait_for_jobs(1)
    app.scheduler.stop(timeout=0)
    scorer.gate.set()
    error_message(waiting.result(PATIENCE), 503, "ServiceUnavailableError")
