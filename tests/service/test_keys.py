"""Keys of the keys file: what each allows, and that nobody's flood is another's drought."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from rerank.access.keyring import key_hash
from rerank.core import Caller
from rerank.scheduling.batching import BatchBudget
from tests.support.app import DOCUMENTS, MODEL, OTHER_MODEL, QUERY, AppUnderTest, GatedScorer, bearer, error_message

from .conftest import OpenApp

BODY = {"query": QUERY, "documents": DOCUMENTS}


def named(**callers: Caller) -> dict[str, Caller]:
    """Callers whose keys are their own names in capitals."""
    return {key_hash(name.upper()): caller for name, caller in callers.items()}


def ask(app: AppUnderTest, key: str, path: str = "/v1/rerank", **fields: object) -> tuple[int, dict[str, object]]:
    response = app.client.post(path, json=BODY | fields, headers=bearer(key))
    return response.status_code, response.json()


def test_a_key_of_the_file_is_as_good_as_one_of_the_settings(open_app: OpenApp) -> None:
    app = open_app(keys=("plain",), named_keys=named(chat=Caller("chat")))
    assert [ask(app, key)[0] for key in ("plain", "CHAT", "chat", "")] == [200, 200, 401, 401]


def test_a_key_may_be_for_some_models_only(open_app: OpenApp) -> None:
    app = open_app(named_keys=named(chat=Caller("chat", models=(OTHER_MODEL.id,)), all=Caller("all")))
    refused = app.client.post("/v1/rerank", json=BODY | {"model": "the-words"}, headers=bearer("CHAT"))
    assert error_message(refused, 403, "PermissionDeniedError") == (
        f"The key chat may not use the model `the-words`. The key chat may use: {OTHER_MODEL.id}."
    )
    assert refused.json()["error"]["param"] == "model"
    status, answer = ask(app, "CHAT", model="other-words")
    assert (status, answer["model"]) == (200, OTHER_MODEL.id)
    assert ask(app, "ALL", model="the-words")[0] == 200


def test_each_dialect_says_so_its_way(open_app: OpenApp) -> None:
    app = open_app(named_keys=named(chat=Caller("chat", models=(OTHER_MODEL.id,))))
    body = {"model": MODEL.id, "input": BODY}
    refused = app.client.post("/compatible-api/v1/reranks", json=body | BODY, headers=bearer("CHAT"))
    assert (refused.status_code, refused.json()["code"]) == (403, "AccessDenied")
    body = {"model": MODEL.id, "query": QUERY, "texts": DOCUMENTS}
    refused = app.client.post("/tei/rerank", json=body, headers=bearer("CHAT"))
    assert (refused.status_code, refused.json()["error_type"]) == (403, "Unauthorized")


def test_who_names_no_model_gets_the_first_that_the_key_allows(open_app: OpenApp) -> None:
    app = open_app(named_keys=named(chat=Caller("chat", models=(OTHER_MODEL.id,)), all=Caller("all")))
    assert ask(app, "CHAT")[1]["model"] == OTHER_MODEL.id
    assert ask(app, "ALL")[1]["model"] == MODEL.id


def test_the_list_of_models_holds_those_that_the_key_allows(open_app: OpenApp) -> None:
    app = open_app(named_keys=named(chat=Caller("chat", models=(OTHER_MODEL.id,)), all=Caller("all")))
    listed = {
        key: [model["id"] for model in app.client.get("/v1/models", headers=bearer(key)).json()["data"]]
        for key in ("CHAT", "ALL")
    }
    assert listed["CHAT"] == [OTHER_MODEL.id]
    assert {MODEL.id, OTHER_MODEL.id} <= set(listed["ALL"])


@pytest.mark.parametrize("path", ["/v1/rerank", "/tei/rerank", "/infinity/rerank", "/v1/ranking"])
def test_a_key_over_its_limit_gets_429_with_retry_after(open_app: OpenApp, path: str) -> None:
    app = open_app(named_keys=named(chat=Caller("chat", requests_per_minute=2), all=Caller("all")))
    assert [ask(app, "CHAT")[0] for _ in range(2)] == [200, 200]
    body = BODY | {"passages": DOCUMENTS, "texts": DOCUMENTS}
    refused = app.client.post(path, json=body, headers=bearer("CHAT"))
    assert refused.status_code == 429
    assert "The key chat has used up its 2 requests a minute" in refused.text
    assert 50 < int(refused.headers["Retry-After"]) <= 60
    assert ask(app, "ALL")[0] == 200


def test_what_a_full_server_refuses_does_not_count(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, named_keys=named(chat=Caller("chat", requests_per_minute=2)), max_inflight_documents=1)
    first = app.meanwhile(ask, app, "CHAT")
    app.scheduler.wait_for_jobs(1)
    for _ in range(3):
        refused = app.client.post("/v1/rerank", json=BODY, headers=bearer("CHAT"))
        assert "The server is busy" in error_message(refused, 429, "RateLimitError")
    scorer.gate.set()
    assert first.result()[0] == 200
    assert [ask(app, "CHAT")[0] for _ in range(2)] == [200, 429]


def test_a_key_that_is_used_up_is_told_so_by_a_full_server(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, named_keys=named(chat=Caller("chat", requests_per_minute=1)), max_inflight_documents=1)
    first = app.meanwhile(ask, app, "CHAT")
    app.scheduler.wait_for_jobs(1)
    refused = app.client.post("/v1/rerank", json=BODY, headers=bearer("CHAT"))
    assert "has used up its 1 requests a minute" in error_message(refused, 429, "RateLimitError")
    scorer.gate.set()
    assert first.result()[0] == 200


def test_tokens_of_a_minute_are_counted_as_answers_state_them(open_app: OpenApp) -> None:
    app = open_app(named_keys=named(chat=Caller("chat", tokens_per_minute=60)))
    _, answer = ask(app, "CHAT")
    used = answer["usage"]["total_tokens"]  # type: ignore[index]
    assert 0 < used < 60
    statuses = [ask(app, "CHAT")[0] for _ in range(10)]
    assert Counter(statuses)[200] <= 60 // used
    assert statuses[-1] == 429
    refused, told = ask(app, "CHAT", documents=["x" * 400])
    assert (refused, told["error"]["param"]) == (400, None)  # type: ignore[index]


def test_an_admin_key_of_the_file_administers_and_others_do_not(open_app: OpenApp) -> None:
    app = open_app(named_keys=named(boss=Caller("boss", admin=True), chat=Caller("chat")))
    statuses = [
        app.client.post(f"/v1/models/{MODEL.id}/load", headers=bearer(key)).status_code
        for key in ("BOSS", "CHAT", "nobody")
    ]
    assert statuses == [200, 401, 401]


def test_an_operator_sees_what_is_left_of_each_keys_minute(open_app: OpenApp) -> None:
    chat = Caller("chat", models=(MODEL.id,), requests_per_minute=5)
    app = open_app(named_keys=named(boss=Caller("boss", admin=True), chat=chat))
    ask(app, "CHAT")

    assert [app.client.get("/v1/keys", headers=bearer(key)).status_code for key in ("CHAT", "")] == [401, 401]
    listed = app.client.get("/v1/keys", headers=bearer("BOSS")).json()["data"]
    limits = {"requests_per_minute": None, "requests_left": None, "tokens_per_minute": None, "tokens_left": None}
    assert listed == [
        {"name": "boss", "admin": True, "models": None, **limits},
        {"name": "chat", "admin": False, "models": [MODEL.id], **limits, "requests_per_minute": 5, "requests_left": 4},
    ]


def test_the_log_and_the_metrics_name_the_key_and_never_hold_it(
    open_app: OpenApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    app = open_app(named_keys={key_hash("s3cret"): Caller("chat")})
    _, answer = ask(app, "s3cret")
    used = answer["usage"]["total_tokens"]  # type: ignore[index]
    metrics = app.client.get("/metrics", headers=bearer("s3cret")).text
    assert 'rerank_key_requests_total{key="chat",status="200"} 1.0' in metrics
    assert f'rerank_key_tokens_total{{key="chat"}} {float(used)}' in metrics
    assert "POST /v1/rerank 200" in caplog.text
    assert " key=chat" in caplog.text
    assert "s3cret" not in caplog.text + metrics


def test_a_request_with_an_invalid_body_is_counted_for_its_key(open_app: OpenApp) -> None:
    app = open_app(named_keys={key_hash("s3cret"): Caller("chat")})
    headers = bearer("s3cret")
    assert app.client.post("/v1/rerank", json={"documents": ["a"]}, headers=headers).status_code == 400
    assert 'rerank_key_requests_total{key="chat",status="400"} 1.0' in app.client.get("/metrics", headers=headers).text


def test_a_key_that_floods_the_server_cannot_starve_another(open_app: OpenApp) -> None:
    """Counted in batches, not in seconds: forty requests wait, one of another key is done two batches later."""
    scorer = GatedScorer()
    batch = BatchBudget(4, 16384)
    app = open_app(scorer, named_keys=named(flood=Caller("flood"), trickle=Caller("trickle")), batch=batch)

    def send(key: str, marker: str, number: int) -> None:
        app.meanwhile(
            app.client.post,
            "/v1/rerank",
            json={"query": "q", "documents": [f"{marker} {number} {place}" for place in range(4)]},
            headers=bearer(key),
        )

    send("FLOOD", "flood", 0)
    assert scorer.reached.wait(30)
    for number in range(1, 25):
        send("FLOOD", "flood", number)
    send("TRICKLE", "trickle", 0)
    app.scheduler.wait_for_jobs(26)
    scorer.gate.set()
    app.release()

    batches = [{document.split()[0] for document in documents} for documents in scorer.seen]
    assert len(batches) == 26
    assert batches.index({"trickle"}) <= 2


def test_a_server_full_of_one_key_lets_another_in(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    callers = named(flood=Caller("flood"), trickle=Caller("trickle"))
    app = open_app(scorer, named_keys=callers, max_inflight_documents=6)
    waiting = [
        app.meanwhile(ask, app, "FLOOD"),
        app.meanwhile(ask, app, "FLOOD"),
    ]
    app.scheduler.wait_for_jobs(2)
    assert ask(app, "FLOOD")[0] == 429
    waiting.append(app.meanwhile(ask, app, "TRICKLE"))
    app.scheduler.wait_for_jobs(1)
    scorer.gate.set()
    assert [answer.result()[0] for answer in waiting] == [200, 200, 200]


def test_bodies_of_all_requests_together_are_limited(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, max_inflight_bytes=1024)
    first = app.rerank_meanwhile(documents=["x" * 900])
    app.scheduler.wait_for_jobs(1)
    refused = app.rerank(documents=["y" * 900])
    assert "it holds" in error_message(refused, 429, "RateLimitError")
    assert refused.headers["Retry-After"] == "1"
    scorer.gate.set()
    assert first.result().status_code == 200
    # alone, as large as a body may be
    assert app.rerank(documents=["z" * 5000]).status_code == 200


def test_tokens_of_all_requests_together_are_limited(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, max_inflight_tokens=100)
    first = app.rerank_meanwhile(documents=["x" * 300])
    app.scheduler.wait_for_jobs(1)
    assert "tokens are in flight (maximum 100)" in error_message(
        app.rerank(documents=["y" * 300]), 429, "RateLimitError"
    )
    scorer.gate.set()
    assert first.result().status_code == 200


@pytest.mark.parametrize("log_texts", [True, False])
def test_texts_are_logged_only_where_the_operator_says_so(
    open_app: OpenApp, caplog: pytest.LogCaptureFixture, log_texts: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    app = open_app(log_texts=log_texts)
    app.rerank(query="a private question", documents=["a private\nanswer"])
    assert ("a private question" in caplog.text) is log_texts
    assert (r"documents.0: query 'a private question', document 'a private\nanswer'" in caplog.text) is log_texts
