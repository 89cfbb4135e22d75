"""What `/load` says of a server that works, loads or rests, and to whom."""

from __future__ import annotations

import threading

import pytest

from rerank.access.keyring import key_hash
from rerank.api.dialects.main import MainDialect
from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.core import Caller
from tests.support.app import MODEL, OTHER_MODEL, PATIENCE, GatedScorer, bearer

from .conftest import OpenApp
from .test_metrics import value

KEY, LIMITED = "a-key-for-tests", "a-limited-key"
IDLE: dict[str, object] = {
    "server_load": 0,
    "backlog_seconds": 0.0,
    "tokens": 0,
    "tokens_per_second": None,
    "free_bytes": None,
    "budget_bytes": None,
    "draining": False,
    "models": {},
}


def test_an_idle_server(open_app: OpenApp) -> None:
    assert open_app().client.get("/load").json() == IDLE


def test_work_in_flight_and_models_in_memory(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, budget=1000, sizes={MODEL.id: 300})
    running = app.rerank_meanwhile()
    assert scorer.reached.wait(PATIENCE)
    load = app.client.get("/load").json()
    model = load["models"][MODEL.id]
    assert (load["server_load"], load["free_bytes"], load["budget_bytes"]) == (1, 700, 1000)
    assert (model["state"], model["bytes"], model["idle_seconds"], model["pinned"]) == ("ready", 300, 0, False)
    assert model["in_memory"]
    assert model["tokens"] == load["tokens"] > 0
    assert model["load_seconds"] >= 0
    assert set(load["models"]) == {MODEL.id}
    scorer.gate.set()
    assert running.result(PATIENCE).status_code == 200
    after = app.client.get("/load").json()
    assert (after["server_load"], after["tokens"], after["models"][MODEL.id]["backlog_seconds"]) == (0, 0, 0)


def test_a_model_that_loads_has_a_backlog(open_app: OpenApp) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def load(card: ModelCard) -> LoadedModel:
        loading.set()
        assert go_on.wait(PATIENCE)
        return app.loaded(card)

    app = open_app(load=load)
    waiting = app.rerank_meanwhile()
    assert loading.wait(PATIENCE)
    model = app.client.get("/load").json()["models"][MODEL.id]
    assert not model["in_memory"]
    assert value(app.client, "rerank_backlog_seconds", model=MODEL.id) > 0
    go_on.set()
    assert waiting.result(PATIENCE).status_code == 200
    assert app.client.get("/load").json()["models"][MODEL.id]["load_seconds"] is not None
    assert value(app.client, "rerank_backlog_seconds", model=MODEL.id) == 0


def test_strictly_as_vllm_it_is_a_number_and_nothing_more(open_app: OpenApp) -> None:
    assert open_app(main_dialect=MainDialect.STRICT_VLLM).client.get("/load").json() == {"server_load": 0}


def test_without_a_key_it_is_a_number_and_nothing_more(open_app: OpenApp) -> None:
    client = open_app(keys=(KEY,)).client
    assert client.get("/load").json() == {"server_load": 0}
    assert client.get("/load", headers=bearer("a-wrong-key")).json() == {"server_load": 0}
    assert client.get("/load", headers=bearer(KEY)).json() == IDLE


def test_where_the_metrics_are_open_it_is_too(open_app: OpenApp) -> None:
    client = open_app(keys=(KEY,), open_paths=("/metrics",)).client
    assert client.get("/load").json() == IDLE


@pytest.mark.parametrize(("key", "seen"), [(KEY, {MODEL.id, OTHER_MODEL.id}), (LIMITED, {OTHER_MODEL.id})])
def test_a_key_for_some_models_sees_only_those(open_app: OpenApp, key: str, seen: set[str]) -> None:
    app = open_app(keys=(KEY,), named_keys={key_hash(LIMITED): Caller("limited", models=(OTHER_MODEL.id,))})
    for model in (MODEL.id, OTHER_MODEL.id):
        body = {"query": "a", "documents": ["a"], "model": model}
        assert app.client.post("/v1/rerank", json=body, headers=bearer(KEY)).status_code == 200
    assert set(app.client.get("/load", headers=bearer(key)).json()["models"]) == seen


def test_tokenizing_is_no_work_for_a_device(open_app: OpenApp) -> None:
    app = open_app()
    for _ in range(5):
        assert app.client.post("/tokenize", json={"prompt": "a b c"}).status_code == 200
    load = app.client.get("/load").json()
    assert (load["tokens_per_second"], load["tokens"]) == (None, 0)
    for _ in range(3):
        assert app.rerank().status_code == 200
    assert app.client.get("/load").json()["tokens_per_second"] > 0
