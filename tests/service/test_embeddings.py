"""Keys, limits, metrics and the log of requests for vectors, which a tiny embedding model gives."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from httpx2 import Response
from tokenizers import Tokenizer

from rerank.api.dialects.main import MainDialect
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Caller, Pair
from rerank.devices import choose_device
from rerank.gateway.estimate import estimated_tokens
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.load import load_scorer
from tests.support.app import MODEL, OTHER_MODEL, AppUnderTest, bearer, error_message

from .conftest import OpenApp
from .test_keys import named
from .test_metrics import value

DIALECTS = {"/v1/embeddings": "embeddings", "/embeddings": "embeddings", "/embed": "TEI", "/tei/embed": "TEI"}
"""Of each address that gives vectors."""
PATHS = tuple(DIALECTS)
TEXTS = ["Paris is the capital of France.", "I like cheese.", "a branch of machine learning"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # importing torch takes seconds
    from tests.support.tiny_checkpoints import make_embedding_model

    return make_embedding_model(tmp_path_factory.mktemp("checkpoints") / "tiny-embedder")


@pytest.fixture(scope="module")
def embedder(checkpoint: Path) -> Scorer:
    placement = Placement(choose_device("cpu", "fp32", "torch"), checkpoint.parent / ".openvino")
    return load_scorer(read_checkpoint(checkpoint), MODEL, placement)


@pytest.fixture(scope="module")
def tokens(checkpoint: Path) -> int:
    """Of the texts, as the model reads them."""
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    return sum(len(tokenizer.encode(text).ids) for text in TEXTS)


def ask(app: AppUnderTest, path: str = "/v1/embeddings", key: str = "", **fields: Any) -> Response:
    """Ask for vectors of the texts; every address knows TEI's name of the field."""
    return app.client.post(path, json={"inputs": TEXTS} | fields, headers=bearer(key) if key else {})


def given(answer: Response) -> int:
    """How many vectors an answer holds."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return len(body if isinstance(body, list) else body["data"])


@pytest.mark.parametrize("path", PATHS)
def test_vectors_are_for_who_has_a_key(open_app: OpenApp, embedder: Scorer, path: str) -> None:
    app = open_app(embedder, keys=("right",))
    assert [ask(app, path, key).status_code for key in ("", "wrong")] == [401, 401]
    assert given(ask(app, path, "right")) == len(TEXTS)


@pytest.mark.parametrize("path", PATHS)
def test_a_key_for_other_models_gets_403(open_app: OpenApp, embedder: Scorer, path: str) -> None:
    app = open_app(embedder, named_keys=named(chat=Caller("chat", models=(OTHER_MODEL.id,)), all=Caller("all")))
    refused = ask(app, path, "CHAT", model="the-words")
    assert refused.status_code == 403
    assert f"The key chat may not use the model `the-words`. The key chat may use: {OTHER_MODEL.id}." in refused.text
    assert given(ask(app, path, "CHAT", model=OTHER_MODEL.id)) == len(TEXTS)
    assert given(ask(app, path, "ALL", model="the-words")) == len(TEXTS)


def test_who_names_no_model_gets_the_first_that_the_key_allows(open_app: OpenApp, embedder: Scorer) -> None:
    app = open_app(embedder, named_keys=named(chat=Caller("chat", models=(OTHER_MODEL.id,)), all=Caller("all")))
    assert [ask(app, key=key).json()["model"] for key in ("CHAT", "ALL")] == [OTHER_MODEL.id, MODEL.id]


@pytest.mark.parametrize("path", PATHS)
def test_a_key_over_its_requests_gets_429_with_retry_after(open_app: OpenApp, embedder: Scorer, path: str) -> None:
    app = open_app(embedder, named_keys=named(chat=Caller("chat", requests_per_minute=2), all=Caller("all")))
    assert [given(ask(app, path, "CHAT")) for _ in range(2)] == [len(TEXTS)] * 2
    refused = ask(app, path, "CHAT")
    assert refused.status_code == 429
    assert "The key chat has used up its 2 requests a minute" in refused.text
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert given(ask(app, path, "ALL")) == len(TEXTS)


def test_vectors_and_scores_share_the_minute_of_a_key(open_app: OpenApp, embedder: Scorer) -> None:
    app = open_app(embedder, named_keys=named(chat=Caller("chat", requests_per_minute=1)))
    assert given(ask(app, key="CHAT")) == len(TEXTS)
    body = {"query": "q", "documents": ["a"]}
    refused = app.client.post("/v1/rerank", json=body, headers=bearer("CHAT"))
    assert "has used up its 1 requests a minute" in error_message(refused, 429, "RateLimitError")


@pytest.mark.parametrize("path", PATHS)
def test_the_tokens_of_vectors_count_for_the_minute_of_a_key(
    open_app: OpenApp, embedder: Scorer, tokens: int, path: str
) -> None:
    estimate = estimated_tokens([Pair("", text) for text in TEXTS], None)
    # with what the server takes them for at first there would be room for a second request
    minute = tokens + estimate // 2
    assert 2 * estimate <= minute
    app = open_app(embedder, named_keys=named(chat=Caller("chat", tokens_per_minute=minute), all=Caller("all")))
    assert given(ask(app, path, "CHAT")) == len(TEXTS)
    refused = ask(app, path, "CHAT")
    assert refused.status_code == 429
    assert f"The key chat has used up its {minute} tokens a minute" in refused.text
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert given(ask(app, path, "ALL")) == len(TEXTS)


def test_texts_of_more_tokens_than_a_minute_has_are_refused_at_once(open_app: OpenApp, embedder: Scorer) -> None:
    app = open_app(embedder, named_keys=named(chat=Caller("chat", tokens_per_minute=10)))
    message = error_message(ask(app, key="CHAT"), 400, "BadRequestError")
    assert "the key chat may use 10 a minute" in message


def test_an_operator_sees_what_vectors_have_taken_of_a_minute(open_app: OpenApp, embedder: Scorer) -> None:
    chat = Caller("chat", requests_per_minute=5)
    app = open_app(embedder, named_keys=named(boss=Caller("boss", admin=True), chat=chat))
    ask(app, key="CHAT")
    listed = app.client.get("/v1/keys", headers=bearer("BOSS")).json()["data"]
    assert {key["name"]: key["requests_left"] for key in listed} == {"boss": None, "chat": 4}


@pytest.mark.parametrize("path", PATHS)
def test_texts_and_tokens_of_vectors_are_counted(
    open_app: OpenApp, embedder: Scorer, tokens: int, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="rerank.access")
    app = open_app(embedder, named_keys=named(chat=Caller("chat")), open_paths=("/metrics",))
    answer = ask(app, path, "CHAT")
    assert given(answer) == len(TEXTS)
    if DIALECTS[path] == "embeddings":
        assert answer.json()["usage"]["total_tokens"] == tokens

    client, dialect = app.client, DIALECTS[path]
    assert value(client, "rerank_requests_total", dialect=dialect, model=MODEL.id, status="200") == 1
    assert value(client, "rerank_request_duration_seconds_count", dialect=dialect) == 1
    assert value(client, "rerank_documents_total", model=MODEL.id) == len(TEXTS)
    assert value(client, "rerank_tokens_total", model=MODEL.id) == tokens
    assert value(client, "rerank_key_requests_total", key="chat", status="200") == 1
    assert value(client, "rerank_key_tokens_total", key="chat") == tokens
    for stage in ("model", "tokenise", "queue", "device"):
        assert value(client, "rerank_stage_duration_seconds_count", stage=stage) == 1
    (line,) = (line for line in caplog.messages if line.startswith(f"POST {path} 200 "))
    assert line.endswith(f" ms documents={len(TEXTS)} key=chat model={MODEL.id} tokens={tokens}")
    assert TEXTS[0] not in caplog.text


@pytest.mark.parametrize(
    ("caller", "status", "error"),
    [
        (Caller("chat", models=(OTHER_MODEL.id,)), 403, "Forbidden"),
        (Caller("chat", requests_per_minute=1), 429, "RateLimited"),
    ],
    ids=["other models", "used up"],
)
def test_refused_vectors_are_counted_as_refused_and_cost_no_tokens(
    open_app: OpenApp, embedder: Scorer, caller: Caller, status: int, error: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="rerank.access")
    app = open_app(embedder, named_keys=named(chat=caller), open_paths=("/metrics",))
    ask(app, key="CHAT", model=OTHER_MODEL.id)
    spent = value(app.client, "rerank_key_tokens_total", key="chat")

    assert ask(app, key="CHAT", model=MODEL.id).status_code == status

    client = app.client
    assert value(client, "rerank_errors_total", error=error) == 1
    assert value(client, "rerank_requests_total", dialect="embeddings", model="", status=str(status)) == 1
    assert value(client, "rerank_key_requests_total", key="chat", status=str(status)) == 1
    assert value(client, "rerank_key_tokens_total", key="chat") == spent > 0
    (line,) = (line for line in caplog.messages if line.startswith(f"POST /v1/embeddings {status} "))
    assert f" ms documents={len(TEXTS)} key=chat error={error} " in line


def test_texts_are_logged_only_where_the_operator_says_so(
    open_app: OpenApp, embedder: Scorer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for log_texts in (False, True):
        assert given(ask(open_app(embedder, log_texts=log_texts))) == len(TEXTS)
        assert all((text in caplog.text) is log_texts for text in TEXTS)


@pytest.mark.parametrize("main", MainDialect)
@pytest.mark.parametrize(
    ("field", "given", "refused"),
    [
        ("embed_dtype", "float32", "float16"),
        ("endianness", "native", "big"),
        ("endianness", "little", "big"),
        ("add_special_tokens", True, False),
    ],
)
def test_only_the_numbers_and_tokens_that_are_given_can_be_asked_for(
    open_app: OpenApp, embedder: Scorer, main: MainDialect, field: str, given: Any, refused: Any
) -> None:
    app = open_app(embedder, main_dialect=main)
    assert ask(app, **{field: given}).status_code == 200
    answer = ask(app, **{field: refused})
    assert answer.status_code == 400
    assert field in answer.json()["error"]["message"]
