"""Models come into memory when they are wanted, leave it for others, and the server says where they are."""

from __future__ import annotations

import threading
from collections.abc import Callable

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.errors import WeightsBroken
from rerank.gateway.readiness import Readiness
from tests.support.app import DOCUMENTS, MODEL, OTHER_MODEL, PATIENCE, QUERY, AppUnderTest, GatedScorer, error_message
from tests.support.waiting import wait_until

from .conftest import OpenApp

THIRD_MODEL = ModelCard(id="acme/third-words")
CARDS = (MODEL, OTHER_MODEL, THIRD_MODEL)


class SlowLoads:
    """Loads end once the test says so."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.app: AppUnderTest

    def __call__(self, card: ModelCard) -> LoadedModel:
        self.asked.append(card.id)
        self.begun.set()
        assert self.may_end.wait(PATIENCE)
        return self.app.loaded(card)


def states(app: AppUnderTest) -> dict[str, str]:
    return {card["id"]: card["state"] for card in app.client.get("/v1/models").json()["data"] if "acme" in card["id"]}


def test_a_thousand_requests_for_a_cold_model_cause_one_load_and_all_are_answered(open_app: OpenApp) -> None:
    loads = SlowLoads()
    app = loads.app = open_app(load=loads)
    answers = app.rerank_at_once(1000, documents=["a"])
    wait_until(lambda: app.client.get("/load").json()["server_load"] == 1000)
    assert states(app)[MODEL.id] == "loading"
    loads.may_end.set()
    assert answers.result(PATIENCE) == [200] * 1000
    assert loads.asked == [MODEL.id]


def test_a_cold_model_does_not_delay_a_warm_one(open_app: OpenApp) -> None:
    loads = SlowLoads()
    loads.may_end.set()
    app = loads.app = open_app(load=loads)
    app.rerank()
    loads.may_end.clear()
    cold = app.rerank_meanwhile(model=OTHER_MODEL.id)
    assert app.rerank().status_code == 200
    loads.may_end.set()
    assert cold.result(PATIENCE).json()["model"] == OTHER_MODEL.id


def test_a_load_longer_than_its_timeout_is_503_and_goes_on(open_app: OpenApp) -> None:
    loads = SlowLoads()
    app = loads.app = open_app(load=loads, load_timeout=0.1)
    response = app.rerank()
    message = error_message(response, 503, "ServiceUnavailableError")
    assert message == "acme/words is still loading after 0.1 s; the load continues. Retry shortly."
    assert response.headers["retry-after"] == "5"
    loads.may_end.set()
    assert any(app.rerank().status_code == 200 for _ in range(100))
    assert loads.asked == [MODEL.id]


def test_the_model_idle_for_longest_makes_room(open_app: OpenApp) -> None:
    app = open_app(cards=CARDS, budget=100, sizes={card.id: 50 for card in CARDS})
    for card in (MODEL, OTHER_MODEL, MODEL, THIRD_MODEL):
        assert app.rerank(model=card.id).status_code == 200
    assert states(app) == {MODEL.id: "ready", OTHER_MODEL.id: "absent", THIRD_MODEL.id: "ready"}
    assert app.rerank(model=OTHER_MODEL.id).status_code == 200
    assert states(app)[MODEL.id] == "absent"


def test_a_model_in_use_is_not_taken_away(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, budget=100, sizes={MODEL.id: 60, OTHER_MODEL.id: 60})
    running = app.rerank_meanwhile(model=MODEL.id)
    app.scheduler.wait_for_jobs(1)
    other = app.rerank_meanwhile(model=OTHER_MODEL.id)
    for _ in range(1000):
        if states(app)[MODEL.id] == "draining":
            break
    assert states(app) == {MODEL.id: "draining", OTHER_MODEL.id: "loading"}
    assert not running.done()
    scorer.gate.set()
    assert running.result(PATIENCE).json()["model"] == MODEL.id
    assert other.result(PATIENCE).json()["model"] == OTHER_MODEL.id


def test_a_model_that_never_fits_is_503_with_both_numbers_and_no_invitation_to_retry(open_app: OpenApp) -> None:
    app = open_app(budget=4_000_000_000, sizes={MODEL.id: 16_000_000_000})
    response = app.rerank()
    message = error_message(response, 503, "ServiceUnavailableError")
    assert message == (
        "acme/words needs 16.0 GB on test; the budget for models there has 4.0 GB (RERANK_MEMORY_BUDGET)."
    )
    assert "retry-after" not in response.headers


def test_a_card_tells_where_its_model_is(open_app: OpenApp) -> None:
    loads = SlowLoads()
    app = loads.app = open_app(load=loads, sizes={MODEL.id: 60})

    def card() -> dict[str, object]:
        body: dict[str, object] = app.client.get(f"/v1/models/{MODEL.id}").json()
        keys = ("state", "bytes", "bytes_measured", "precision", "load_seconds", "pinned", "loaded")
        return {key: body[key] for key in keys} | {
            key: body[key] is not None for key in ("last_used", "loading_since", "device")
        }

    absent = {
        "state": "absent",
        "bytes": None,
        "bytes_measured": False,
        "precision": None,
        "load_seconds": None,
        "pinned": False,
        "loaded": False,
        "last_used": False,
        "loading_since": False,
        "device": False,
    }
    assert card() == absent
    waiting = app.rerank_meanwhile()
    assert loads.begun.wait(PATIENCE)
    assert card() == absent | {"state": "loading", "bytes": 60, "loading_since": True}
    loads.may_end.set()
    waiting.result(PATIENCE)
    assert card() == {
        "state": "ready",
        "bytes": 60,
        "bytes_measured": True,
        "precision": "fp32",
        "load_seconds": 0.0,
        "pinned": False,
        "loaded": True,
        "last_used": True,
        "loading_since": False,
        "device": True,
    }


class TestReady:
    def test_asking_loads_the_default_model_once(self, open_app: OpenApp) -> None:
        loads = SlowLoads()
        app = loads.app = open_app(load=loads)
        response = app.client.get("/ready")
        assert response.status_code == 503
        assert response.json() == {"ready": False, "missing": ["acme/words is absent"]}
        assert app.client.get("/health").status_code == 200
        assert loads.begun.wait(PATIENCE)
        assert app.client.get("/ready").json() == {"ready": False, "missing": ["acme/words is loading"]}
        loads.may_end.set()
        assert app.rerank().status_code == 200
        response = app.client.get("/ready")
        assert (response.status_code, response.json()) == (200, {"ready": True, "missing": []})
        assert loads.asked == [MODEL.id]

    def test_a_model_that_cannot_be_loaded_is_left_alone_for_a_while(self, open_app: OpenApp) -> None:
        tries = threading.Semaphore(0)

        def load(card: ModelCard) -> LoadedModel:
            tries.release()
            raise WeightsBroken("words/config.json is missing")

        app = open_app(load=load)
        assert app.client.get("/ready").status_code == 503
        assert tries.acquire(timeout=PATIENCE)
        # a request of its own right, which ends after the failure has been heard of
        assert app.rerank().status_code == 503
        tries.acquire(timeout=0.01)
        (missing,) = app.client.get("/ready").json()["missing"]
        assert missing == "acme/words is absent: words/config.json is missing"
        assert not tries.acquire(timeout=0.1)

    def test_a_model_that_could_not_be_loaded_is_tried_again_after_a_while(self, open_app: OpenApp) -> None:
        tries = threading.Semaphore(0)

        def load(card: ModelCard) -> LoadedModel:
            tries.release()
            raise WeightsBroken("words/config.json is missing")

        app = open_app(load=load)
        readiness = Readiness(app.gateway, retry_seconds=0.0)
        assert app.client.portal
        for _ in range(3):
            assert app.client.portal.call(readiness.load_missing) == [MODEL]
            assert tries.acquire(timeout=PATIENCE)
            wait_until(lambda: MODEL.id in readiness.failures)
            readiness.failures.clear()

    def test_is_a_server_whose_default_model_has_been_in_memory(self, open_app: OpenApp) -> None:
        app = open_app()
        app.rerank()
        response = app.client.get("/ready")
        assert (response.status_code, response.json()) == (200, {"ready": True, "missing": []})

    def test_is_a_server_once_its_models_are_loaded_even_if_one_has_left_since(self, open_app: OpenApp) -> None:
        loads = SlowLoads()
        app = loads.app = open_app(
            load=loads, preloaded=(OTHER_MODEL, MODEL), budget=100, sizes={MODEL.id: 60, OTHER_MODEL.id: 60}
        )
        waiting = app.rerank_meanwhile(model=OTHER_MODEL.id)
        assert loads.begun.wait(PATIENCE)
        assert app.client.get("/ready").json()["missing"] == [
            "acme/other-words is loading",
            "acme/words is absent",
        ]
        loads.may_end.set()
        waiting.result(PATIENCE)
        app.rerank()
        assert states(app) == {MODEL.id: "ready", OTHER_MODEL.id: "absent"}
        assert app.client.get("/ready").status_code == 200

    def test_is_a_model_while_it_is_in_memory(self, open_app: OpenApp) -> None:
        loads = SlowLoads()
        app = loads.app = open_app(load=loads)
        ask: Callable[[], tuple[int, list[str]]] = lambda: (  # noqa: E731
            (response := app.client.get("/ready", params={"model": "the-words"})).status_code,
            response.json()["missing"],
        )
        assert ask() == (503, ["acme/words is absent"])
        waiting = app.rerank_meanwhile()
        assert loads.begun.wait(PATIENCE)
        assert ask() == (503, ["acme/words is loading"])
        loads.may_end.set()
        waiting.result(PATIENCE)
        assert ask() == (200, [])

    def test_of_an_unknown_model_is_404(self, app: AppUnderTest) -> None:
        error_message(app.client.get("/ready", params={"model": "nope"}), 404, "NotFoundError")


def test_a_failed_load_leaves_an_absent_model(open_app: OpenApp) -> None:
    def load(card: ModelCard) -> LoadedModel:
        raise WeightsBroken("words/config.json is missing")

    app = open_app(load=load)
    assert app.post("/v1/score", {"text_1": QUERY, "text_2": DOCUMENTS}).status_code == 503
    assert states(app)[MODEL.id] == "absent"


def test_a_server_that_stops_is_not_ready_and_sends_requests_away(open_app: OpenApp) -> None:
    app = open_app()
    app.asgi.state.services.gateway.admission.close()
    assert "the server is shutting down" in app.client.get("/ready").json()["missing"]
    response = app.rerank()
    assert error_message(response, 503, "ServiceUnavailableError") == "The server is shutting down."
    assert response.headers["Connection"] == "close"
