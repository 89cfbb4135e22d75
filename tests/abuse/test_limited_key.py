"""A key for some models learns of no others, nor of other keys, wherever it asks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank.access.keyring import key_hash
from rerank.catalog.built_in import BUILT_IN
from rerank.core import Caller
from tests.support.app import DOCUMENTS, MODEL, OTHER_MODEL, QUERY, AppUnderTest, error_message

LIMITED = {"Authorization": "Bearer for-some"}
UNLIMITED = {"Authorization": "Bearer for-all"}
FOREIGN = (MODEL.id, *MODEL.aliases, *(card.id for card in BUILT_IN))
OTHERS = ("everything", "operator")
"""Names of the other keys."""
DOCUMENTATION = {"/docs", "/redoc", "/openapi.json"}
"""Their examples name models that this server may not even have."""

OF_OPERATORS = {"/v1/keys"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppUnderTest]:
    """A app in which another key has used another model."""
    models_dir = tmp_path_factory.mktemp("models")
    (models_dir / "half-a-model").mkdir()
    callers = {
        key_hash("for-some"): Caller("chat", models=(OTHER_MODEL.id,)),
        key_hash("for-all"): Caller("everything"),
        key_hash("of-the-operator"): Caller("operator", admin=True),
    }
    with AppUnderTest(models_dir, named_keys=callers, preloaded=(BUILT_IN[0],)) as app:
        for headers in (UNLIMITED, LIMITED):
            app.client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}, headers=headers)
        yield app


def paths(app: AppUnderTest, method: str) -> list[str]:
    schema = app.client.get("/openapi.json").json()
    return [path for path, operations in schema["paths"].items() if method in operations]


def betrayed(text: str, asked: str = "") -> list[str]:
    """Names in an answer that are not the key's to see, but for one it asked for itself."""
    text = text.replace(asked, "") if asked else text
    return [name for name in (*FOREIGN, *OTHERS) if re.search(rf"\b{re.escape(name)}\b", text)]


def test_no_page_names_what_the_key_is_not_for(app: AppUnderTest) -> None:
    read = [path for path in paths(app, "get") if "{" not in path and path not in DOCUMENTATION]
    assert {"/", "/metrics", "/v1/models", "/models", "/ready", "/info", "/tei/info", "/meta"} <= set(read)
    for path in read:
        response = app.client.get(path, headers=LIMITED)
        assert response.status_code in ((401,) if path in OF_OPERATORS else (200, 204, 503)), path
        assert betrayed(response.text) == [], path


def test_there_was_something_to_betray(app: AppUnderTest) -> None:
    for path in ("/", "/metrics", "/v1/models"):
        assert MODEL.id in betrayed(app.client.get(path, headers=UNLIMITED).text), path
    assert "everything" in betrayed(app.client.get("/metrics", headers=UNLIMITED).text)


def test_metrics_show_the_keys_own_models_and_itself(app: AppUnderTest) -> None:
    text = app.client.get("/metrics", headers=LIMITED).text
    assert f'rerank_documents_total{{model="{OTHER_MODEL.id}"}} {float(len(DOCUMENTS))}' in text
    assert 'rerank_key_requests_total{key="chat",status="200"}' in text
    # what belongs to nobody stays
    assert 'rerank_stage_duration_seconds_count{stage="device"} 2.0' in text


@pytest.mark.parametrize("name", [MODEL.id, "the-words", "THE-WORDS ", BUILT_IN[0].id])
@pytest.mark.parametrize("address", ["/v1/models/{}", "/ready?model={}"])
def test_a_model_the_key_is_not_for_is_refused_as_when_it_is_to_score(
    app: AppUnderTest, address: str, name: str
) -> None:
    refused = app.client.get(address.format(name), headers=LIMITED)
    assert error_message(refused, 403, "PermissionDeniedError").startswith("The key chat may not use the model `")
    assert betrayed(refused.text, asked=name) == []


@pytest.mark.parametrize("name", ["word", "half-a-model", "acme/wordz", "bge-reranker"])
@pytest.mark.parametrize("address", ["/v1/models/{}", "/ready?model={}"])
def test_a_name_that_is_nobodys_brings_up_no_others(app: AppUnderTest, address: str, name: str) -> None:
    refused = app.client.get(address.format(name), headers=LIMITED)
    assert error_message(refused, 404, "NotFoundError") == (
        f"The model `{name}` does not exist. The key chat may use: {OTHER_MODEL.id}."
    )


@pytest.mark.parametrize("name", ["the-words", "word", "half-a-model"])
def test_no_address_that_scores_brings_up_others(app: AppUnderTest, name: str) -> None:
    texts = dict.fromkeys(("documents", "texts", "passages", "text_2", "items"), DOCUMENTS)
    body = {"model": name, "query": QUERY, "text_1": QUERY, **texts}
    scoring = [path for path in paths(app, "post") if "{" not in path]
    assert len(scoring) > 15
    for path in scoring:
        response = app.client.post(path, json=body, headers=LIMITED)
        assert response.status_code < 500, path
        assert betrayed(response.text, asked=name) == [], path


def test_the_key_sees_its_own_model_by_any_name(app: AppUnderTest) -> None:
    for name in (OTHER_MODEL.id, "other-words"):
        assert app.client.get(f"/v1/models/{name}", headers=LIMITED).json()["id"] == OTHER_MODEL.id
        assert app.client.get(f"/ready?model={name}", headers=LIMITED).status_code == 200


def test_a_key_whose_model_has_gone_is_told_so(tmp_path: Path) -> None:
    callers = {key_hash("for-some"): Caller("chat", models=("acme/gone",))}
    with AppUnderTest(tmp_path, named_keys=callers) as app:
        refused = app.client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}, headers=LIMITED)
    assert error_message(refused, 404, "NotFoundError") == (
        "The model `acme/gone` does not exist. The key chat may use: acme/gone."
    )


@pytest.mark.parametrize("name", ["%0A", "acme%0Awords", "%0D%0A%0D%0A", "%00"])
def test_a_name_with_line_ends_in_a_path_is_a_name_like_any(app: AppUnderTest, name: str) -> None:
    refused = app.client.get(f"/v1/models/{name}", headers=UNLIMITED)
    assert error_message(refused, 404, "NotFoundError").startswith("The model `")
    answered = app.client.post(
        f"/v1/retrieval/{name}/reranking",
        json={"query": {"text": QUERY}, "passages": [{"text": DOCUMENTS[0]}]},
        headers=UNLIMITED,
    )
    assert answered.status_code == 200
