"""Who may use the server, and that a key is never written down."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rerank.api.dialects import dashscope, shared, tei
from rerank.api.dialects.vllm.unsupported import TASKS
from tests.support.app import DOCUMENTS, QUERY, AppUnderTest, error_message

from .conftest import OpenApp, Serve

KEY = "s3cret-key"
SECOND_KEY = "an0ther-key"
TEXTS = {"query": QUERY, "documents": DOCUMENTS, "passages": DOCUMENTS, "text_1": "a", "text_2": "b", "prompt": "a"}
BODY: dict[str, Any] = TEXTS | {"tokens": [0]}

GUARDED = (
    *(("POST", path) for path in shared.PATHS),
    ("POST", "/v1/score"),
    ("POST", "/score"),
    ("POST", "/infinity/rerank"),
    ("POST", "/voyage/v1/rerank"),
    ("POST", "/api/rerank"),
    ("POST", "/api/v1/rerank"),
    ("POST", "/v1/ranking"),
    ("POST", "/v1/retrieval/acme/words/reranking"),
    ("POST", "/invocations"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("GET", "/v1/models"),
    ("GET", "/models"),
    ("GET", "/metrics"),
    ("GET", "/v1/models/acme/words"),
)
OTHER_ERRORS = {("POST", path) for path in tei.DIALECT.paths | dashscope.DIALECT.paths}
"""Guarded too, but said in another shape."""
REFUSED = {("POST", path) for path in (*TASKS, "/v1/embeddings", "/embeddings")}
"""Guarded too, though with a reranker no key helps."""
PUBLIC = (
    *("/", "/health", "/ready", "/ping", "/version", "/load", "/docs", "/redoc", "/openapi.json"),
    *("/info", "/tei/info", "/tei/health", "/meta", "/.well-known/ready", "/.well-known/live", "/v1/cluster/auth"),
)


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with AppUnderTest(tmp_path_factory.mktemp("models"), keys=(KEY, SECOND_KEY)) as app:
        yield app.client


@pytest.mark.parametrize("header", [None, "Bearer None", "Bearer ", "Bearer", "Bearer x", "x", "Basic eDp5", ""])
@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_a_key_anything_passes(client: TestClient, method: str, path: str, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    assert client.request(method, path, json=BODY, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer {KEY}",
        f"bearer {KEY}",
        f"BEARER {KEY}",
        f"bEaReR {KEY}",
        f"Bearer   {KEY}",
        f" Bearer {KEY} ",
        KEY,
        f"Bearer {SECOND_KEY}",
        SECOND_KEY,
    ],
)
def test_a_key_may_be_brought_in_many_ways(locked: TestClient, header: str) -> None:
    assert locked.post("/v1/rerank", json=BODY, headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("key", [KEY, SECOND_KEY])
@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_a_key_may_stand_in_the_address(locked: TestClient, method: str, path: str, key: str) -> None:
    assert locked.request(method, path, params={"access_token": key}, json=BODY).status_code == 200


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (None, "send the API key as `Authorization: Bearer <key>`"),
        ("", "send the API key"),
        ("Bearer", "send the API key"),
        ("Bearer ", "send the API key"),
        ("Bearer None", "the API key is wrong"),
        ("Bearer wrong", "the API key is wrong"),
        (f"Bearer {KEY}x", "the API key is wrong"),
        (f"Bearer {KEY[:-1]}", "the API key is wrong"),
        (f"Bearer {KEY.upper()}", "the API key is wrong"),
        (f"Bearer {KEY},{SECOND_KEY}", "the API key is wrong"),
        (f"Basic {KEY}", "the API key is wrong"),
        ("wrong", "the API key is wrong"),
        ("Bearer \u00ff", "the API key is wrong"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [*GUARDED, *sorted(REFUSED)])
def test_without_the_right_key_401(locked: TestClient, method: str, path: str, header: str | None, said: str) -> None:
    headers = {} if header is None else {b"Authorization": header.encode("latin-1")}
    response = locked.request(method, path, json=BODY, headers=headers)
    assert said in error_message(response, 401, "AuthenticationError")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(("method", "path"), sorted(OTHER_ERRORS))
def test_without_a_key_other_dialects_say_401_their_way(locked: TestClient, method: str, path: str) -> None:
    response = locked.request(method, path, json=BODY)
    assert response.status_code == 401
    assert "error" not in response.json() or isinstance(response.json()["error"], str)


@pytest.mark.parametrize("token", ["", "wrong", "%ED%A0%80", "%00"])
def test_a_wrong_token_in_the_address_401(locked: TestClient, token: str) -> None:
    error_message(locked.post(f"/v1/rerank?access_token={token}", json=BODY), 401, "AuthenticationError")


def test_the_header_beats_the_address(locked: TestClient) -> None:
    response = locked.get("/v1/models", params={"access_token": KEY}, headers={"Authorization": "Bearer wrong"})
    assert response.status_code == 401


@pytest.mark.parametrize("path", PUBLIC)
def test_public_paths_need_no_key(locked: TestClient, path: str) -> None:
    # a server that is not ready says so to everybody
    assert locked.get(path).status_code in ((200, 503) if path == "/ready" else (200, 204))


def test_every_other_path_is_guarded(locked: TestClient) -> None:
    operations = {
        (method.upper(), path)
        for path, item in locked.get("/openapi.json").json()["paths"].items()
        for method in item
        if path not in PUBLIC
    }
    administration = {("POST", f"/v1/models/{{model}}/{act}") for act in ("load", "unload", "pin")}
    administration.add(("GET", "/v1/keys"))
    guarded = {(method, path.replace("acme/words", "{model}")) for method, path in GUARDED}
    assert operations == guarded | administration | OTHER_ERRORS | REFUSED


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nope"),
        ("GET", "/v1/nope"),
        ("GET", "/v1/rerank"),
        ("HEAD", "/v1/models"),
        ("POST", "/v1/rerank/"),
        ("GET", "//v1/models"),
        ("GET", "/health/../v1/models"),
        ("GET", "/V1/models"),
        ("POST", "/RERANK"),
        ("GET", "/v1/models/docs"),
        ("GET", "/docsx"),
    ],
)
def test_no_other_spelling_opens_a_door(locked: TestClient, method: str, path: str) -> None:
    assert locked.request(method, path, follow_redirects=False).status_code == 401


@pytest.mark.parametrize(
    "path", ["/docs/../v1/models", "/static-offline-docs/../v1/models", "/static-offline-docs/%2e%2e/%2e%2e/app.py"]
)
def test_public_folders_lead_nowhere_else(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code in (401, 404)


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_options_asks_for_no_key(locked: TestClient, method: str, path: str) -> None:
    assert locked.options(path).status_code == 405


def test_the_key_is_looked_at_before_the_body(open_app: OpenApp) -> None:
    client = open_app(keys=(KEY,), max_body_bytes=1024).client
    body = BODY | {"documents": ["x" * 2000]}
    assert client.post("/v1/rerank", json=body).status_code == 401
    assert client.post("/v1/rerank", json=body, headers={"Authorization": KEY}).status_code == 413


def test_several_keys_that_differ_are_none(locked: TestClient) -> None:
    both = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer wrong")]
    for headers in (both, both[::-1]):
        message = error_message(locked.get("/v1/models", headers=headers), 401, "AuthenticationError")
        assert "not several that differ" in message
        assert locked.get(f"/v1/models?access_token={KEY}", headers=headers).status_code == 401
    assert locked.get("/v1/models", headers=both[:1] * 2).status_code == 200


def test_no_key_is_ever_logged(locked: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    tries: tuple[dict[str, str], ...] = ({"Authorization": f"Bearer {KEY}"}, {"Authorization": KEY}, {})
    for path in ("/v1/rerank", "/v1/nope", "/health"):
        for headers in tries:
            for token in (KEY, KEY + "-wrong"):
                locked.post(path, params={"access_token": token}, json=BODY, headers=headers)
                locked.post(path, params={"access_token": token}, content=b"{", headers=headers)
    assert "POST /v1/rerank 200" in caplog.text
    assert "POST /v1/rerank 401" in caplog.text
    assert KEY not in caplog.text


def test_no_key_in_an_operators_log(serve: Serve, server_log: io.StringIO) -> None:
    _, server = serve(keys=(KEY,))
    assert server.post(f"/v1/rerank?access_token={KEY}", BODY)[0] == 200
    assert server.post("/v1/rerank", BODY, Authorization=f"Bearer {KEY}")[0] == 200
    assert server.post(f"/v1/rerank?access_token={KEY}-wrong", BODY)[0] == 401
    assert "POST /v1/rerank 200" in server_log.getvalue()
    assert KEY not in server_log.getvalue()


def test_no_key_in_an_answer(locked: TestClient) -> None:
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {KEY}-wrong"}):
        response = locked.post("/v1/rerank", json=BODY, headers=headers)
        assert KEY not in response.text
        assert KEY not in str(response.headers)


@pytest.mark.parametrize("header", ["Bearer clé".encode(), "Bearer clé".encode("latin-1"), "bearer  clé ".encode()])
def test_a_key_that_is_not_ascii_passes_in_either_encoding(open_app: OpenApp, header: bytes) -> None:
    client = open_app(keys=("clé",)).client

    assert client.post("/v1/rerank", json=BODY, headers={b"Authorization": header}).status_code == 200


def test_an_empty_bearer_does_not_hide_a_key_in_the_address(locked: TestClient) -> None:
    answer = locked.post(f"/v1/rerank?access_token={KEY}", json=BODY, headers={"Authorization": "Bearer "})

    assert answer.status_code == 200


def test_a_slash_at_the_end_changes_nothing(locked: TestClient) -> None:
    assert locked.post("/v1/rerank/", json=BODY).status_code == 401
    assert locked.post(f"/v1/rerank/?access_token={KEY}", json=BODY).status_code == 200


def test_no_status_is_documented_that_is_never_sent(locked: TestClient) -> None:
    paths = locked.get("/openapi.json").json()["paths"]
    documented = {path for path, ways in paths.items() for way in ways.values() if "422" in way["responses"]}

    assert documented == {*tei.DIALECT.paths, *shared.PATHS, "/invocations"}
