"""Fallbacks, cascades and ensembles, as clients of several dialects see them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rerank.access.keyring import key_hash
from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.routes import CascadeStage, Ensemble, Fallback
from rerank.core import Caller, Finished, PendingLogits
from rerank.errors import FetchFailure, WeightsMissing
from rerank.scorers.base import Scorer
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from tests.service.conftest import OpenApp
from tests.support.app import (
    DOCUMENTS,
    MODEL,
    OTHER_MODEL,
    PATIENCE,
    QUERY,
    AppUnderTest,
    BrokenScorer,
    FixedScorer,
    GatedScorer,
)

GONE = ModelCard("acme/gone")
BROKEN = ModelCard("acme/broken")
STUCK = ModelCard("acme/stuck")
BACKWARDS = ModelCard("acme/backwards")
ROUTES = (
    ModelCard("always", route=Fallback((GONE.id, BROKEN.id, MODEL.id))),
    ModelCard("patient", route=Fallback((STUCK.id, MODEL.id), share=0.01)),
    ModelCard("never", route=Fallback((GONE.id, BROKEN.id))),
    ModelCard("quick", route=(CascadeStage(BACKWARDS.id, 2), CascadeStage(MODEL.id))),
    ModelCard("relative", route=(CascadeStage(BACKWARDS.id, 2.0), CascadeStage(MODEL.id))),
    ModelCard("blend", route=Ensemble((MODEL.id, BACKWARDS.id), "weighted", (3.0, 1.0))),
    ModelCard("whole", route=Ensemble((MODEL.id, GONE.id))),
    ModelCard("lame", route=Ensemble((MODEL.id, GONE.id), missing="degrade")),
    ModelCard("nested", route=Fallback((GONE.id, "lame"))),
    ModelCard("few", max_candidates=2),
)
CARDS = (MODEL, OTHER_MODEL, GONE, BROKEN, STUCK, BACKWARDS, *ROUTES)


class FewestWords(WordOverlapScorer):
    """Prefers short documents."""

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        return Finished([-float(len(pair.document)) for pair in batch])


class Models:
    """A model for each card, some of which fail in their own way."""

    def __init__(self) -> None:
        self.stuck = GatedScorer(at="encode")
        self.app: AppUnderTest

    def load(self, card: ModelCard) -> LoadedModel:
        if card == GONE:
            raise WeightsMissing("The Hub has no acme/gone.", FetchFailure.NOT_FOUND)
        scorers: dict[str, Callable[[], Scorer]] = {
            BROKEN.id: lambda: BrokenScorer(RuntimeError("out of ideas")),
            STUCK.id: lambda: self.stuck,
            BACKWARDS.id: FewestWords,
        }
        return self.app.loaded(card, scorers.get(card.id, WordOverlapScorer)())


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def app(models: Models, open_app: OpenApp) -> AppUnderTest:
    models.app = open_app(load=models.load, cards=CARDS)
    return models.app


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(app: AppUnderTest) -> Ask:
    def ask(model: str, **fields: Any) -> dict[str, Any]:
        response = app.rerank(model=model, **fields)
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    return ask


def order(body: dict[str, Any]) -> list[int]:
    return [result["index"] for result in body["results"]]


def route(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(attempt["model"], attempt["outcome"]) for attempt in body["meta"]["route"]]


class TestFallback:
    def test_the_first_model_that_can_answers_and_the_answer_says_so(self, ask: Ask) -> None:
        plain, body = ask(MODEL.id), ask("always")
        assert order(body) == order(plain)
        assert body["model"] == MODEL.id
        assert body["meta"]["degraded"] is True
        assert route(body) == [(GONE.id, "WeightsMissing"), (BROKEN.id, "ScoringFailed"), (MODEL.id, "ok")]
        assert "not available: acme/gone (WeightsMissing), acme/broken" in body["meta"]["model_reason"]

    def test_a_first_choice_that_answers_is_not_degraded(self, ask: Ask) -> None:
        body = ask(MODEL.id, fallbacks=[OTHER_MODEL.id])
        assert (body["model"], body["meta"]["degraded"], route(body)) == (MODEL.id, False, [(MODEL.id, "ok")])

    def test_a_request_may_bring_its_own(self, ask: Ask) -> None:
        body = ask(GONE.id, fallbacks=["acme/broken", OTHER_MODEL.id])
        assert (body["model"], body["meta"]["degraded"]) == (OTHER_MODEL.id, True)

    def test_a_plain_model_is_never_answered_by_another(self, app: AppUnderTest) -> None:
        assert app.rerank(model=GONE.id).status_code == 503

    def test_if_all_fail_the_last_error_is_the_answer(self, app: AppUnderTest) -> None:
        response = app.rerank(model="never")
        assert response.status_code == 500
        assert "out of ideas" not in response.text

    def test_a_fault_of_the_caller_does_not_fall_back(self, app: AppUnderTest) -> None:
        response = app.rerank(model=MODEL.id, fallbacks=[OTHER_MODEL.id], documents=["a " * 9000], truncate=False)
        assert response.status_code == 400
        assert "documents.0" in response.json()["message"]

    def test_a_model_that_takes_longer_than_its_share_is_passed_over(self, ask: Ask) -> None:
        body = ask("patient")
        assert body["model"] == MODEL.id
        assert route(body)[0] == (STUCK.id, "DeadlineExceeded")

    @pytest.fixture(autouse=True)
    def let_go(self, models: Models, app: AppUnderTest) -> Any:
        yield
        models.stuck.gate.set()

    def test_what_a_model_cannot_do_another_may(self, ask: Ask) -> None:
        body = ask("quick", fallbacks=[MODEL.id], raw_scores=True)
        assert (body["model"], body["meta"]["degraded"]) == (MODEL.id, True)

    def test_an_unknown_fallback_is_refused_though_it_would_not_be_asked(self, app: AppUnderTest) -> None:
        assert app.rerank(model=MODEL.id, fallbacks=["nothing"]).status_code == 404

    @pytest.mark.parametrize("fallbacks", [["a"] * 9, ["a" * 600], "a", [1], [[]]])
    def test_fallbacks_are_a_short_list_of_names(self, app: AppUnderTest, fallbacks: Any) -> None:
        assert app.rerank(fallbacks=fallbacks).status_code == 400

    def test_every_dialect_tells_in_headers(self, app: AppUnderTest) -> None:
        asked = {"model": "always", "query": QUERY, "documents": DOCUMENTS}
        for path, body in {
            "/v1/rerank": asked,
            "/tei/rerank": {"model": "always", "query": QUERY, "texts": DOCUMENTS},
            "/api/v1/services/rerank/text-rerank/text-rerank": {
                "model": "always",
                "input": {"query": QUERY, "documents": DOCUMENTS},
                "parameters": {},
            },
            "/v2/rerank": asked,
            "/voyage/v1/rerank": asked,
            "/v1/ranking": {"model": "always", "query": {"text": QUERY}, "passages": [{"text": d} for d in DOCUMENTS]},
        }.items():
            headers = app.post(path, body).headers
            assert (headers["X-Rerank-Model"], headers["X-Rerank-Degraded"]) == (MODEL.id, "true"), path

    def test_it_nests(self, ask: Ask) -> None:
        body = ask("nested")
        assert (body["model"], body["meta"]["degraded"]) == ("lame", True)

    def test_it_is_counted(self, app: AppUnderTest, ask: Ask) -> None:
        ask("always")
        metrics = app.client.get("/metrics").text
        assert f'rerank_attempts_total{{model="{GONE.id}",outcome="WeightsMissing"}} 1.0' in metrics
        assert f'rerank_degraded_total{{model="{MODEL.id}"}} 1.0' in metrics


class TestCascade:
    def test_the_second_model_scores_what_the_first_kept(self, ask: Ask) -> None:
        body, alone = ask("quick"), ask(MODEL.id)
        # the first stage keeps the documents 2 and 0
        assert order(body) == [place for place in order(alone) if place != 1] + [1]
        assert [result["stage"] for result in body["results"]] == [2, 2, 1]
        scores = [result["relevance_score"] for result in body["results"]]
        assert scores == sorted(scores, reverse=True)
        assert [(stage["model"], stage["documents"]) for stage in body["meta"]["stages"]] == [
            (BACKWARDS.id, 3),
            (MODEL.id, 2),
        ]
        assert body["usage"]["total_tokens"] == sum(stage["tokens"] for stage in body["meta"]["stages"])
        assert body["model"] == "quick"

    def test_a_multiple_of_top_n_is_kept(self, ask: Ask) -> None:
        body = ask("relative", top_n=1)
        assert [stage["documents"] for stage in body["meta"]["stages"]] == [3, 2]
        assert len(body["results"]) == 1
        assert [stage["documents"] for stage in ask("relative")["meta"]["stages"]] == [3, 3]

    def test_raw_logits_are_refused(self, app: AppUnderTest) -> None:
        response = app.rerank(model="quick", raw_scores=True)
        assert response.status_code == 400
        assert "quick gives relevance only" in response.json()["message"]

    def test_nims_clients_get_relevance_where_there_are_no_logits(self, app: AppUnderTest, ask: Ask) -> None:
        body = {"model": "quick", "query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS]}
        rankings = app.post("/v1/ranking", body).json()["rankings"]
        assert [ranking["index"] for ranking in rankings] == order(ask("quick"))

    def test_documents_beyond_max_candidates_follow_in_their_order(self, ask: Ask) -> None:
        body = ask("few")
        assert order(body) == [1, 0, 2]
        assert [result.get("scored", True) for result in body["results"]] == [True, True, False]
        assert body["results"][2]["relevance_score"] == 0
        assert body["meta"]["partial"] is False


class TestEnsemble:
    def test_weighted_relevance_decides(self, ask: Ask) -> None:
        whole = {result["index"]: result["relevance_score"] for result in ask(MODEL.id)["results"]}
        other = {result["index"]: result["relevance_score"] for result in ask(BACKWARDS.id)["results"]}
        for result in ask("blend")["results"]:
            expected = (3 * whole[result["index"]] + other[result["index"]]) / 4
            assert result["relevance_score"] == pytest.approx(expected)

    def test_a_missing_member_is_an_error_by_default(self, app: AppUnderTest) -> None:
        assert app.rerank(model="whole").status_code == 503

    def test_or_an_answer_without_it_that_says_so(self, ask: Ask) -> None:
        body = ask("lame")
        assert (body["model"], body["meta"]["degraded"]) == ("lame", True)
        assert sorted(route(body)) == [(GONE.id, "WeightsMissing"), (MODEL.id, "ok")]


class TestKeys:
    def test_a_key_for_a_route_may_use_it_without_its_members(self, models: Models, open_app: OpenApp) -> None:
        key = "0123456789abcdef"
        named = {key_hash(key): Caller("one", models=("quick",))}
        models.app = app = open_app(load=models.load, cards=CARDS, named_keys=named)
        bearer = {"Authorization": f"Bearer {key}"}

        def status(**fields: Any) -> int:
            body = {"query": QUERY, "documents": DOCUMENTS} | fields
            return app.client.post("/v1/rerank", json=body, headers=bearer).status_code

        assert status(model="quick") == 200
        assert status(model=MODEL.id) == 403
        assert status(model="quick", fallbacks=[MODEL.id]) == 403


class TestOthers:
    def test_a_route_gives_no_vectors_and_tokenises_nothing(self, app: AppUnderTest) -> None:
        assert app.post("/v1/embeddings", {"model": "quick", "input": "a"}).status_code == 400
        assert app.post("/tokenize", {"model": "quick", "prompt": "a"}).status_code == 400

    def test_it_is_listed_with_its_members(self, app: AppUnderTest, ask: Ask) -> None:
        card = app.client.get("/v1/models/quick").json()
        assert (card["family"], card["members"], card["loaded"]) == ("cascade", [BACKWARDS.id, MODEL.id], False)
        ask("quick")
        assert app.client.get("/v1/models/quick").json()["state"] == "ready"

    @pytest.mark.parametrize("min_score", ["NaN", "Infinity", "much"])
    def test_a_threshold_is_a_number(self, app: AppUnderTest, min_score: str) -> None:
        assert app.rerank(min_score=min_score).status_code == 400

    @pytest.mark.parametrize("field", ["min_score", "score_threshold"])
    def test_results_below_the_threshold_are_left_out(self, app: AppUnderTest, field: str) -> None:
        scores = [result["relevance_score"] for result in app.rerank().json()["results"]]
        kept = app.rerank(**{field: scores[0]}).json()["results"]
        assert [result["relevance_score"] for result in kept] == [score for score in scores if score >= scores[0]]
        assert app.rerank(**{field: 1.1}).json()["results"] == []

    @pytest.mark.parametrize("budget", [0, -5, "NaN", "Infinity", "soon"])
    def test_a_budget_is_a_number_of_milliseconds_above_0(self, app: AppUnderTest, budget: Any) -> None:
        assert app.rerank(budget_ms=budget).status_code == 400
        headers = {"X-Rerank-Budget-Ms": str(budget)}
        body = {"query": QUERY, "documents": DOCUMENTS}
        assert app.client.post("/v1/rerank", json=body, headers=headers).status_code == 400

    def test_a_budget_longer_than_any_day_is_refused(self, app: AppUnderTest) -> None:
        assert app.rerank(budget_ms=1e308).status_code == 400
        body = {"query": QUERY, "documents": DOCUMENTS}
        for _ in range(3):
            # the scheduler has learnt how fast the model is
            response = app.client.post("/v1/rerank", json=body, headers={"X-Rerank-Budget-Ms": "1e308"})
            assert response.status_code == 200

    @pytest.mark.parametrize(
        "fields",
        [
            {"max_chunks_per_doc": -1},
            {"max_chunks_per_doc": 10**9},
            {"overlap_tokens": -1},
            {"overlap_tokens": 10**9},
            {"aggregate": "median"},
        ],
    )
    def test_options_of_chunks_have_bounds(self, app: AppUnderTest, fields: dict[str, Any]) -> None:
        response = app.rerank(**fields)
        assert response.status_code == 400
        assert next(iter(fields)) in response.json()["message"]


def test_a_budget_that_is_used_up_gives_the_order_as_it_came(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer)
    busy = app.rerank_meanwhile()
    assert scorer.reached.wait(PATIENCE)
    body = app.rerank(budget_ms=1).json()
    scorer.gate.set()
    assert busy.result(PATIENCE).status_code == 200
    assert order(body) == [0, 1, 2]
    assert [result["scored"] for result in body["results"]] == [False] * 3
    assert [result["relevance_score"] for result in body["results"]] == [0.0] * 3
    assert body["meta"]["partial"] is True


@pytest.mark.parametrize(("logits", "floor"), [((-3.0, -1.0), -3.0), ((2.0, 1.0), 0.0)])
def test_raw_logits_of_unscored_documents_stand_above_no_scored_one(
    open_app: OpenApp, logits: tuple[float, float], floor: float
) -> None:
    app = open_app(FixedScorer(*logits), cards=(replace(MODEL, max_candidates=2),))
    body = app.rerank(documents=["a", "b", "c"], use_activation=False).json()
    assert [result["relevance_score"] for result in body["results"]] == [*sorted(logits, reverse=True), floor]
    scored = app.post("/score", {"text_1": "q", "text_2": ["a", "b", "c"], "use_activation": False}).json()["data"]
    assert [each["score"] for each in scored] == [*logits, floor]
