"""Requests beside each other. Order is asserted, never time."""

from __future__ import annotations

import threading

import pytest

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.scheduling.batching import BatchBudget
from tests.support.app import PATIENCE, GatedScorer, indices

from .conftest import OpenApp


@pytest.mark.parametrize("at", ["encode", "score"])
def test_the_server_answers_while_a_thousand_documents_are_in_flight(open_app: OpenApp, at: str) -> None:
    scorer = GatedScorer(at)
    app = open_app(scorer)
    thousand = app.rerank_meanwhile(documents=[f"document {number}" for number in range(1000)])
    assert scorer.reached.wait(PATIENCE)
    for path in ("/health", "/ping", "/", "/version", "/v1/models", "/openapi.json"):
        assert app.client.get(path).status_code == 200
    assert app.rerank(documents=[]).status_code == 400
    assert app.client.get("/load").json()["server_load"] == 1
    assert not thousand.done()
    scorer.gate.set()
    assert len(indices(thousand.result(PATIENCE))) == 1000
    assert app.client.get("/load").json()["server_load"] == 0


def test_two_requests_share_a_batch(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, batch=BatchBudget(4, 16384))
    first = app.rerank_meanwhile(documents=["occupies the device"])
    assert scorer.reached.wait(PATIENCE)
    waiting = [app.rerank_meanwhile(documents=["a", "capital"]) for _ in range(2)]
    app.scheduler.wait_for_jobs(3)
    scorer.gate.set()
    assert [indices(request.result(PATIENCE)) for request in (first, *waiting)] == [[0], [1, 0], [1, 0]]
    assert scorer.batches == [1, 4]


def test_a_short_request_does_not_wait_for_a_long_one_to_end(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, batch=BatchBudget(2, 16384))
    long = app.rerank_meanwhile(documents=[f"a {number}" for number in range(100)])
    assert scorer.reached.wait(PATIENCE)
    short = app.rerank_meanwhile(documents=["b"])
    app.scheduler.wait_for_jobs(2)
    scorer.gate.set()
    assert indices(short.result(PATIENCE)) == [0]
    assert len(indices(long.result(PATIENCE))) == 100
    assert scorer.batches == [2, 1, *[2] * 49]
    assert "b" in scorer.seen[1]


def test_requests_that_come_together_load_the_model_once(open_app: OpenApp) -> None:
    loads = []
    may_load = threading.Event()

    def load(card: ModelCard) -> LoadedModel:
        loads.append(card.id)
        assert may_load.wait(PATIENCE)
        return app.loaded(card)

    app = open_app(load=load)
    requests = [app.rerank_meanwhile() for _ in range(4)]
    may_load.set()
    assert [request.result(PATIENCE).status_code for request in requests] == [200] * 4
    assert loads == ["acme/words"]


def test_answers_do_not_get_mixed_up(open_app: OpenApp) -> None:
    app = open_app(batch=BatchBudget(3, 16384))
    requests = [
        app.rerank_meanwhile(query=f"w{number}", documents=[f"w{other}" for other in range(20)]) for number in range(20)
    ]
    assert [indices(request.result(PATIENCE))[0] for request in requests] == list(range(20))
