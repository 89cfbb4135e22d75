"""Callers who leave, or whose time runs out: what they asked for is no longer computed, and nobody else notices."""

from __future__ import annotations

import threading

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.scheduling.batching import BatchBudget
from tests.service.conftest import OpenApp, Serve
from tests.support.app import PATIENCE, AccessLog, GatedScorer, request_bytes

from .aftermath import assert_well, refused

ONE = {"query": "q", "documents": ["a"]}
HUNDRED = {"query": "q", "documents": [f"a {number}" for number in range(100)]}


def test_the_pairs_of_a_client_that_leaves_are_dropped_and_counted(serve: Serve, access_log: AccessLog) -> None:
    scorer = GatedScorer()
    app, server = serve(scorer, batch=BatchBudget(2, 16384))
    with server.connect() as connection:
        connection.sendall(request_bytes(HUNDRED))
        assert scorer.reached.wait(PATIENCE)
    assert access_log.next_line().startswith("POST /v1/rerank 499 ")
    assert app.scheduler.waiting_pairs == 0
    scorer.gate.set()
    assert server.post("/v1/rerank", ONE)[0] == 200
    assert scorer.batches == [2, 1]
    assert "rerank_cancellations_total 1.0" in app.client.get("/metrics").text
    assert app.gateway.admission.requests == 0


def test_a_client_that_leaves_while_it_is_tokenised_is_not_scored(serve: Serve, access_log: AccessLog) -> None:
    scorer = GatedScorer(at="encode")
    _, server = serve(scorer)
    with server.connect() as connection:
        connection.sendall(request_bytes(HUNDRED))
        assert scorer.reached.wait(PATIENCE)
    assert " 499 " in access_log.next_line()
    scorer.gate.set()
    assert server.post("/v1/rerank", ONE)[0] == 200
    assert scorer.batches == [1]


def test_others_in_the_batch_of_a_client_that_leaves_are_served(serve: Serve, access_log: AccessLog) -> None:
    scorer = GatedScorer()
    app, server = serve(scorer, batch=BatchBudget(4, 16384))
    with server.connect() as staying:
        staying.sendall(request_bytes(ONE))
        assert scorer.reached.wait(PATIENCE)
        staying.sendall(request_bytes({"query": "q", "documents": ["b", "c"]}))
        with server.connect() as leaving:
            leaving.sendall(request_bytes({"query": "q", "documents": ["d", "e"]}))
            app.scheduler.wait_for_jobs(2)
        assert " 499 " in access_log.next_line()
        scorer.gate.set()
        assert " 200 " in access_log.next_line()
        assert " 200 " in access_log.next_line()
    assert scorer.batches == [1, 2]


def test_room_is_given_back_when_a_client_leaves(serve: Serve, access_log: AccessLog) -> None:
    scorer = GatedScorer()
    app, server = serve(scorer, max_inflight_documents=3)
    with server.connect() as connection:
        connection.sendall(request_bytes({"query": "q", "documents": ["a"] * 3}))
        assert scorer.reached.wait(PATIENCE)
    assert " 499 " in access_log.next_line()
    assert (app.gateway.admission.in_flight.documents, app.gateway.admission.requests) == (0, 0)
    scorer.gate.set()


def test_a_load_goes_on_when_the_client_that_caused_it_leaves(serve: Serve, access_log: AccessLog) -> None:
    loads = []
    loading = threading.Event()
    may_load = threading.Event()

    def load(card: ModelCard) -> LoadedModel:
        loads.append(card.id)
        loading.set()
        assert may_load.wait(PATIENCE)
        return app.loaded(card)

    app, server = serve(load=load)
    with server.connect() as connection:
        connection.sendall(request_bytes(ONE))
        assert loading.wait(PATIENCE)
    assert " 499 " in access_log.next_line()
    may_load.set()
    assert server.post("/v1/rerank", ONE)[0] == 200
    assert loads == ["acme/words"]


def test_a_client_that_leaves_within_its_body_harms_nobody(serve: Serve, access_log: AccessLog) -> None:
    _, server = serve()
    with server.connect() as connection:
        connection.sendall(request_bytes(ONE)[:-5])
    assert access_log.next_line().startswith("POST /v1/rerank 4")
    assert server.post("/v1/rerank", ONE)[0] == 200


def test_a_caller_whose_time_runs_out_leaves_nothing_behind(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    scorer.gate.set()
    app = open_app(scorer, batch=BatchBudget(1, 16384))
    assert app.rerank(documents=["warm"]).status_code == 200
    scorer.gate.clear()
    app.allow(0.5)
    assert "0.5 s (TIMEOUT)" in refused(app.rerank(), 504)
    app.allow(PATIENCE)
    assert app.scheduler.waiting_pairs == 0
    assert (app.gateway.admission.in_flight.documents, app.gateway.admission.requests) == (0, 0)
    scorer.gate.set()
    assert app.rerank(documents=["next"]).status_code == 200
    assert scorer.batches == [1, 1, 1]
    assert_well(app)
