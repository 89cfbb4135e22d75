"""What the server says of itself: status, models, documentation."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import rerank
from rerank.api.dialects.main import MainDialect
from rerank.catalog.built_in import BUILT_IN
from tests.support.app import MODEL, OTHER_MODEL, PATIENCE, EmbeddingScorer, error_message

from .conftest import OpenApp

ALIVE = [("GET", "/health"), ("GET", "/ping"), ("POST", "/ping")]


@pytest.mark.parametrize(("method", "path"), ALIVE)
def test_alive(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, path)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(("method", "path"), ALIVE)
def test_alive_as_vllm_says_it(open_app: OpenApp, method: str, path: str) -> None:
    response = open_app(main_dialect=MainDialect.STRICT_VLLM).client.request(method, path)
    assert (response.status_code, response.content) == (200, b"")


def test_version(client: TestClient) -> None:
    assert client.get("/version").json() == {"version": rerank.__version__}


def test_the_server_at_a_glance(open_app: OpenApp) -> None:
    app = open_app()
    before = app.client.get("/").json()
    assert before == {
        "status": "running",
        "default_model": MODEL.id,
        "default_model_reason": "the test says so",
        "loaded_models": [],
        "supported_models": [MODEL.id, OTHER_MODEL.id, *(card.id for card in BUILT_IN)],
        "device": "cpu",
        "runtimes": {},
        "version": rerank.__version__,
    }
    app.rerank(model=OTHER_MODEL.id)
    app.rerank()
    assert app.client.get("/").json() == before | {
        "loaded_models": [OTHER_MODEL.id, MODEL.id],
        "runtimes": {OTHER_MODEL.id: "none on cpu", MODEL.id: "none on cpu"},
    }


CARD_KEYS = ["id", "object", "created", "owned_by", "root", "parent", "max_model_len", "permission"]

OUR_KEYS = [
    *(
        "model_name",
        "model_type",
        "loaded",
        "local",
        "family",
        "device",
        "runtime",
        "state",
        "bytes",
        "bytes_measured",
        "last_used",
        "precision",
        "takes_instruction",
    ),
    *("load_seconds", "loading_since", "pinned", "download", "fingerprint", "calibration", "members", "upstream"),
]


def test_models(open_app: OpenApp) -> None:
    body = open_app().client.get("/v1/models").json()
    assert list(body) == ["object", "data"]
    assert body["object"] == "list"
    assert body["data"][0]["id"] == MODEL.id
    assert {card["id"] for card in body["data"]} == {MODEL.id, OTHER_MODEL.id, *(card.id for card in BUILT_IN)}
    for card in body["data"]:
        assert list(card) == [*CARD_KEYS, *OUR_KEYS]
        assert (card["object"], card["created"]) == ("model", 1_700_000_000)
        assert card["permission"][0]["object"] == "model_permission"


def test_loaded_models_come_after_the_default(open_app: OpenApp) -> None:
    app = open_app()
    app.rerank(model=OTHER_MODEL.id)
    cards = app.client.get("/v1/models").json()["data"]
    assert [(card["id"], card["loaded"]) for card in cards[:2]] == [(MODEL.id, False), (OTHER_MODEL.id, True)]
    assert (cards[1]["max_model_len"], cards[1]["family"]) == (512, "cross-encoder")


@pytest.mark.parametrize("name", [MODEL.id, "the-words", "words", "ACME/WORDS", "acme%2Fwords"])
def test_one_model_by_any_of_its_names(client: TestClient, name: str) -> None:
    response = client.get(f"/v1/models/{name}")
    assert response.status_code == 200
    assert response.json()["id"] == MODEL.id


@pytest.mark.parametrize("name", ["nope", "acme/nope", "acme/words/nope", "%ED%A0%80"])
def test_an_unknown_model(client: TestClient, name: str) -> None:
    error_message(client.get(f"/v1/models/{name}"), 404, "NotFoundError")


ADDRESS = re.compile(r"""(?:src|href)=["']([^"']+)["']""")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_needs_no_other_host(open_app: OpenApp, path: str) -> None:
    client = open_app(keys=("k",)).client
    page = client.get(path)
    assert page.status_code == 200
    assert "//" not in re.sub(r"<!--.*?-->|^\s*//.*$", "", page.text, flags=re.DOTALL | re.MULTILINE)
    assets = ADDRESS.findall(page.text)
    assert any(asset.endswith(".js") for asset in assets)
    for asset in assets:
        assert client.get(asset).status_code == 200


def test_the_schema_names_no_other_host(client: TestClient) -> None:
    response = client.get("/openapi.json")
    assert response.status_code == 200
    assert "://" not in response.text


def _examples(app: FastAPI) -> list[tuple[str, str, Any, Any]]:
    """Method, path, request and answer of each example."""
    schema = app.openapi()
    found: list[tuple[str, str, Any, Any]] = []
    for path, item in schema["paths"].items():
        for method, operation in item.items():
            if "requestBody" not in operation or "admin" in operation["tags"]:
                continue
            if "200" not in operation["responses"]:
                continue
            body = operation["requestBody"]["content"]["application/json"]["schema"]
            named = [schema["components"]["schemas"][name] for name in _forms(body)]
            requests = [example for form in named for example in form.get("examples", [])]
            answers = operation["responses"]["200"]["content"]["application/json"]["examples"].values()
            pairs = zip(requests, (answer["value"] for answer in answers), strict=True)
            found += [(method, path, request, answer) for request, answer in pairs]
    return found


def _forms(body: Any) -> list[str]:
    """Names of the forms that a body may have."""
    if "$ref" in body:
        return [body["$ref"].rsplit("/", 1)[-1]]
    forms = body.get("oneOf") or body["anyOf"]
    return [name for form in forms for name in _forms(form)]


def form(value: Any) -> Any:
    """Keys and types of a JSON value."""
    if isinstance(value, dict):
        # the documentation leaves nulls out of its examples
        return {key: form(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [form(item) for item in value]
    return type(value)


@pytest.mark.parametrize("main", MainDialect)
def test_every_example_in_the_documentation_is_answered_as_it_says(open_app: OpenApp, main: MainDialect) -> None:
    app = open_app(EmbeddingScorer(), main_dialect=main)
    examples = _examples(app.asgi)
    assert {"/v1/rerank", "/score", "/tei/rerank", "/v1/ranking", "/reranks"} <= {path for _, path, _, _ in examples}
    for method, path, request, answer in examples:
        response = app.client.request(method, path.replace("{model}", "any"), json=request)
        assert response.status_code == 200, (path, request, response.text)
        assert form(response.json()) == form(answer), (path, request)


def test_every_error_in_the_documentation_has_the_real_body(client: TestClient) -> None:
    schema = client.get("/openapi.json").json()
    for path, named in {"/score": ["ErrorBody"], "/rerank": ["ErrorBody", "WeaviateError", "TeiError"]}.items():
        responses = schema["paths"][path]["post"]["responses"]
        for status in ("400", "401", "404", "413", "415", "429", "500", "502", "503", "504", "508"):
            shown = json.dumps(responses[status]["content"]["application/json"]["schema"])
            assert re.findall(r"/schemas/(\w+)", shown) == named


@pytest.mark.parametrize("main", MainDialect)
def test_every_address_that_scores_documents_the_errors_of_upstreams(open_app: OpenApp, main: MainDialect) -> None:
    paths = open_app(main_dialect=main).asgi.openapi()["paths"]
    for path in ("/v1/rerank", "/score", "/tei/rerank", "/reranks", "/invocations", "/v1/ranking", "/v1/embeddings"):
        assert {"415", "502", "508"} <= set(paths[path]["post"]["responses"]), path


def test_health_turns_red_when_the_scoring_thread_has_died(open_app: OpenApp) -> None:
    app = open_app()
    assert app.client.get("/health").status_code == 200

    app.scheduler.stop(PATIENCE)

    assert app.client.get("/health").status_code == 503


def test_the_documentation_offers_to_take_a_key_where_one_is_needed(open_app: OpenApp) -> None:
    guarded = open_app(keys=("key",)).client.get("/openapi.json").json()
    opened = open_app().client.get("/openapi.json").json()

    assert guarded["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert guarded["security"] == [{"key": []}]
    assert "security" not in opened


BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_a_browser_is_sent_to_the_playground_and_a_program_is_not(open_app: OpenApp) -> None:
    client = open_app(keys=("a-key",)).client
    sent = client.get("/", headers=BROWSER, follow_redirects=False)
    assert (sent.status_code, sent.headers["location"], sent.headers["vary"]) == (307, "playground", "Accept")
    assert client.get("/").json()["status"] == "running"
    for page in ("/playground", "/admin"):
        shown = client.get(page)
        assert shown.status_code == 200
        assert "default-src 'none'; script-src 'self';" in shown.headers["content-security-policy"]
        for name in re.findall(r'(?:href|src)="(pages/[^"]+)"', shown.text):
            assert client.get(f"/{name}").status_code == 200, name


@pytest.mark.parametrize("page", ["/playground", "/admin"])
def test_a_page_with_a_slash_at_its_end_is_sent_to_the_address_without(open_app: OpenApp, page: str) -> None:
    client = open_app().client
    sent = client.get(f"{page}/", follow_redirects=False)
    assert (sent.status_code, sent.headers["location"]) == (307, f"..{page}")
    assert client.get(f"{page}/").url.path == page


def test_nothing_but_the_pages_files_is_served(client: TestClient) -> None:
    for name in (
        "none.js",
        "page.html",
        "vendor/vendored.json",
        "../router.py",
        "%2e%2e/router.py",
        "vendor",
        "",
    ):
        assert client.get(f"/pages/{name}").status_code == 404, name


def test_without_pages_there_is_none(open_app: OpenApp) -> None:
    client = open_app(pages=False).client
    for path in ("/playground", "/admin", "/pages/playground.js", "/docs"):
        assert client.get(path).status_code == 404, path
    assert client.get("/", headers=BROWSER, follow_redirects=False).json()["status"] == "running"
