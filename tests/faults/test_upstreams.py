"""Faults of other servers that have models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from rerank.backends.remote import breaker, retries
from tests.faults.conftest import OpenServer
from tests.support.fake_upstream import FakeUpstream

PAIRS = {"query": "paris", "documents": ["cheese", "paris in spring"], "cache": False}


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream("cohere") as upstream:
        yield upstream


@pytest.fixture
def server(
    upstream: FakeUpstream, open_server: OpenServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> TestClient:
    """Waits for no retry, and probes an upstream at once."""
    monkeypatch.setattr(retries, "_exponential", lambda _: 0.0)
    monkeypatch.setattr(breaker, "COOLDOWN", 0.0)
    file = tmp_path / "models.toml"
    card = f'[[model]]\nid = "far"\nupstream = {{ api = "cohere", url = "{upstream.url}" }}\n'
    file.write_text(card, encoding="utf-8")
    return open_server(models_file=file, default_model="far")


def status(server: TestClient, model: str = "far") -> int:
    return server.post("/v1/rerank", json=PAIRS | {"model": model}).status_code


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 503},
        {"status": 500},
        {"body": b"<html>maintenance</html>"},
        {"body": b'{"results": []}'},
        {"closes": True},
    ],
)
def test_an_upstream_that_fails_and_recovers(
    fault: dict[str, object], upstream: FakeUpstream, server: TestClient
) -> None:
    upstream.always_answers(**fault)  # type: ignore[arg-type]
    assert [status(server) for _ in range(7)] == [502] * 7
    assert server.get("/v1/models/far").json()["upstream"]["breaker"] == "open"
    assert (status(server, "lexical"), server.get("/health").status_code, server.get("/ready").status_code) == (
        200,
        200,
        200,
    )
    upstream.recovers()
    assert status(server) == 200
    assert server.get("/v1/models/far").json()["upstream"]["breaker"] == "closed"


def test_an_upstream_that_is_overloaded(upstream: FakeUpstream, server: TestClient) -> None:
    upstream.always_answers(429, headers={"Retry-After": "90"})
    answer = server.post("/v1/rerank", json=PAIRS)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "90")
    upstream.recovers()
    assert status(server) == 200


def test_an_upstream_that_does_not_accept_the_key(
    upstream: FakeUpstream, server: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.will_answer(401, b'{"message": "invalid api token"}')
    assert status(server) == 502
    assert "far: the upstream answered 401: invalid api token" in caplog.text
