"""Repeated pairs through HTTP."""

from __future__ import annotations

from pathlib import Path

from tests.support.app import DOCUMENTS, MODEL, AppUnderTest, GatedScorer

from .conftest import OpenApp
from .test_metrics import value


def cached(app: AppUnderTest, **fields: object) -> int:
    number: int = app.rerank(**fields).json()["meta"]["cached"]
    return number


def looked_up(app: AppUnderTest, found: str) -> float:
    return value(app.client, "rerank_cache_pairs_total", found=found, model=MODEL.id, store="memory")


def test_a_repeated_request_is_answered_from_the_cache_with_the_same_scores(open_app: OpenApp) -> None:
    app = open_app(cache="memory")
    first, second = app.rerank().json(), app.rerank().json()
    assert (first["meta"]["cached"], second["meta"]["cached"]) == (0, len(DOCUMENTS))
    assert (second["results"], second["usage"]) == (first["results"], first["usage"])
    assert (looked_up(app, "yes"), looked_up(app, "no")) == (len(DOCUMENTS), len(DOCUMENTS))


def test_cache_false_computes_every_score(open_app: OpenApp) -> None:
    app = open_app(cache="memory")
    assert [cached(app, cache=False), cached(app), cached(app, cache=False)] == [0, 0, 0]
    assert cached(app) == len(DOCUMENTS)


def test_without_a_cache_nothing_is_looked_up(open_app: OpenApp) -> None:
    app = open_app()
    assert [cached(app), cached(app)] == [0, 0]
    assert (looked_up(app, "yes"), looked_up(app, "no")) == (0, 0)


def test_an_unloaded_model_finds_its_scores_when_it_is_loaded_again(open_app: OpenApp) -> None:
    app = open_app(cache="memory", client="127.0.0.1")
    cached(app)
    assert app.client.post(f"/v1/models/{MODEL.id}/unload").status_code == 200
    assert cached(app) == len(DOCUMENTS)


def test_scores_in_a_file_survive_the_server(open_app: OpenApp, tmp_path: Path) -> None:
    for number in range(2):
        with AppUnderTest(tmp_path / "models", cache=f"file:{tmp_path / 'scores.db'}") as app:
            assert cached(app) == number * len(DOCUMENTS)


def test_equal_requests_at_the_same_time_are_computed_once(open_app: OpenApp) -> None:
    scorer = GatedScorer()
    app = open_app(scorer, cache="memory")
    first = app.rerank_meanwhile()
    assert scorer.reached.wait(60)
    others = [app.rerank_meanwhile() for _ in range(3)]
    scorer.gate.set()
    answers = [request.result().json()["results"] for request in (first, *others)]
    assert answers == [answers[0]] * 4
    assert sum(map(len, scorer.seen)) == len(DOCUMENTS)
