"""The questions that are asked after every fault."""

from __future__ import annotations

from fastapi.testclient import TestClient
from httpx2 import Response

from tests.support.app import AppUnderTest, error_message

SECRET = "/home/operator/models"
"""What errors of libraries may hold, and callers must not see."""


def refused(response: Response, status: int) -> str:
    """Check that a caller can act on an error: status and kind agree, its id is there, nothing of the app leaks."""
    kind = {500: "InternalServerError", 503: "ServiceUnavailableError", 504: "TimeoutError"}[status]
    message = error_message(response, status, kind)
    assert response.headers["x-request-id"]
    assert (response.headers["x-request-id"] in message) == (status == 500)
    assert not any(leak in response.text for leak in (SECRET, "Traceback", 'File "'))
    return message


def assert_well(app: AppUnderTest) -> None:
    """The server scores, says so, and nothing of earlier requests is left."""
    assert app.rerank().status_code == 200
    assert_ready(app.client)
    admission = app.gateway.admission
    assert (admission.requests, admission.in_flight.documents, admission.waiting.documents) == (0, 0, 0)
    assert app.scheduler.waiting_pairs == 0
    assert app.client.portal
    for model in app.gateway.registry.loaded():
        assert app.client.portal.call(app.gateway.registry.status, model.card).leases == 0


def assert_ready(client: TestClient) -> None:
    """Whoever asks is told that the server works."""
    assert client.get("/health").status_code == 200
    ready = client.get("/ready")
    assert (ready.status_code, ready.json()) == (200, {"ready": True, "missing": []})


def assert_out_of_order(app: AppUnderTest, why: str) -> None:
    """Whoever asks is told that the server does not work, and why; callers are sent away at once."""
    for path in ("/health", "/ping", "/tei/health", "/.well-known/ready", "/ready", "/ready?model=the-words"):
        assert app.client.get(path).status_code == 503, path
    assert app.client.get("/health").text == why
    assert app.client.get("/ready").json() == {"ready": False, "missing": [why]}
    response = app.rerank()
    assert refused(response, 503) == f"The server is out of order: {why}."
    assert response.headers["retry-after"] == "10"
