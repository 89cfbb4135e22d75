"""Calibrated relevance, as clients see it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rerank.activations import SIGMOID
from rerank.api.dialects.main import MainDialect
from rerank.calibration import Calibration, Isotonic
from rerank.catalog.calibrations import write_calibration
from rerank.catalog.cards import ModelCard
from rerank.catalog.routes import CascadeStage, Ensemble, Fallback
from tests.support.app import MODEL, OTHER_MODEL, AppUnderTest
from tests.support.fake_loader import WEIGHTS

STALE = ModelCard("acme/stale")
OWN = ModelCard("acme/own", calibration="auto")
CARDS = (
    MODEL,
    OTHER_MODEL,
    STALE,
    ModelCard("acme/stale-by-default", calibration="auto"),
    OWN,
    ModelCard("acme/none", calibration="auto"),
    ModelCard("both", route=Ensemble((OWN.id, MODEL.id), "weighted", (1.0, 1.0))),
    ModelCard("same", route=Ensemble((OWN.id, OWN.id), "mean")),
    ModelCard("mixed", route=Ensemble((OWN.id, OTHER_MODEL.id), "mean")),
    ModelCard("steps", route=(CascadeStage(OTHER_MODEL.id, 2), CascadeStage(OWN.id))),
    ModelCard("first", route=Fallback((OTHER_MODEL.id, OWN.id))),
)
CURVE = Isotonic((0.0, 1.0), (0.5, 1.0))
"""Halves the distance to 1, so that no relevance stays."""
PLAIN = [SIGMOID(2.0), SIGMOID(-2.0), SIGMOID(-2.0)]
MAPPED = [0.5 + relevance / 2 for relevance in PLAIN]


def fitted(model: str, weights: str = WEIGHTS) -> Calibration:
    return Calibration(model, "isotonic", CURVE, weights, "acme/reference", "f" * 32, "2026-11-26")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppUnderTest]:
    home = tmp_path_factory.mktemp("calibrated")
    folder = home / "calibrations"
    write_calibration(folder / "acme--words.json", fitted(MODEL.id))
    write_calibration(folder / "acme--own.json", fitted(OWN.id))
    for name in ("acme--stale", "acme--stale-by-default"):
        write_calibration(folder / f"{name}.json", fitted(name, weights="1" * 32))
    with AppUnderTest(home / "models", cards=CARDS, cache="memory") as app:
        yield app


def relevances(body: dict[str, Any]) -> list[float]:
    return [result["relevance_score"] for result in body["results"]]


class TestRequests:
    @pytest.mark.parametrize(
        ("model", "fields", "expected"),
        [
            (MODEL.id, {}, PLAIN),
            (MODEL.id, {"calibrated": False}, PLAIN),
            (MODEL.id, {"calibrated": None}, PLAIN),
            (MODEL.id, {"calibrated": True}, MAPPED),
            (MODEL.id, {"calibrated": "true"}, MAPPED),
            (OWN.id, {}, MAPPED),
            (OWN.id, {"calibrated": True}, MAPPED),
            (OWN.id, {"calibrated": False}, PLAIN),
            ("acme/none", {}, PLAIN),
        ],
    )
    def test_the_card_decides_unless_the_request_does(
        self, app: AppUnderTest, model: str, fields: dict[str, Any], expected: list[float]
    ) -> None:
        for _ in range(2):  # the second time from the cache
            body = app.rerank(model=model, **fields).json()
            assert relevances(body) == pytest.approx(expected)
            assert [result["index"] for result in body["results"]] == [1, 0, 2]
            assert body["meta"]["calibrated"] is (expected == MAPPED)

    def test_thresholds_are_of_calibrated_relevance(self, app: AppUnderTest) -> None:
        assert len(app.rerank(model=OWN.id, min_score=0.55).json()["results"]) == 3
        assert len(app.rerank(model=OWN.id, min_score=0.6).json()["results"]) == 1

    def test_scores_of_pairs_are_calibrated_too(self, app: AppUnderTest) -> None:
        body = app.post("/v1/score", {"model": OWN.id, "text_1": "capital", "text_2": ["capital", "cheese"]}).json()
        assert [pair["score"] for pair in body["data"]] == pytest.approx(MAPPED[:2])

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/v2/rerank", {"documents": ["capital"]}),
            ("/rerank", {"texts": ["capital"]}),
            ("/api/rerank", {"documents": ["capital"]}),
            ("/v1/score", {"text_1": "capital", "text_2": "capital"}),
        ],
    )
    def test_every_dialect_takes_the_field(self, app: AppUnderTest, path: str, body: dict[str, Any]) -> None:
        sent = {"model": OWN.id, "query": "capital"} | body
        plain = app.post(path, sent | {"calibrated": False})
        mapped = app.post(path, sent | {"calibrated": True})
        assert plain.status_code == mapped.status_code == 200
        assert plain.text != mapped.text

    def test_raw_logits_are_never_calibrated(self, app: AppUnderTest) -> None:
        assert relevances(app.rerank(model=OWN.id, raw_scores=True).json()) == [2.0, -2.0, -2.0]
        answer = app.rerank(model=OWN.id, raw_scores=True, calibrated=True)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "calibrated"

    def test_nims_clients_get_logits_as_ever(self, app: AppUnderTest) -> None:
        sent = {"model": OWN.id, "query": {"text": "capital"}, "passages": [{"text": "capital"}]}
        assert app.post("/v1/ranking", sent).json()["rankings"][0]["logit"] == 2.0
        assert app.post("/v1/ranking", sent | {"calibrated": True}).status_code == 400

    def test_a_model_without_one_is_named(self, app: AppUnderTest) -> None:
        for model in (OTHER_MODEL.id, "acme/none"):
            answer = app.rerank(model=model, calibrated=True)
            assert answer.status_code == 400
            assert answer.json()["error"]["message"].startswith(f"{model} has no calibration")


class TestOtherWeights:
    def test_a_request_for_a_calibration_of_others_is_refused(self, app: AppUnderTest) -> None:
        answer = app.rerank(model=STALE.id, calibrated=True)
        assert answer.status_code == 400
        assert "was fitted to other weights" in answer.json()["error"]["message"]
        assert app.rerank(model=STALE.id).status_code == 200

    def test_a_card_that_asks_for_it_has_no_answer_but_an_uncalibrated_one(self, app: AppUnderTest) -> None:
        answer = app.rerank(model="acme/stale-by-default")
        assert answer.status_code == 503
        assert "Repeat `rerank calibrate`" in answer.json()["error"]["message"]
        assert app.rerank(model="acme/stale-by-default", calibrated=False).status_code == 200


class TestRoutes:
    def test_a_fusion_takes_the_calibrated_relevance_of_its_members(self, app: AppUnderTest) -> None:
        body = app.rerank(model="both").json()
        assert relevances(body) == pytest.approx(
            [(plain + mapped) / 2 for plain, mapped in zip(PLAIN, MAPPED, strict=True)]
        )
        assert body["meta"]["calibrated"] is False
        both = app.rerank(model="both", calibrated=True).json()
        assert relevances(both) == pytest.approx(MAPPED)
        assert both["meta"]["calibrated"] is True
        assert app.rerank(model="same").json()["meta"]["calibrated"] is True

    def test_a_member_without_one_is_named(self, app: AppUnderTest) -> None:
        answer = app.rerank(model="mixed", calibrated=True)
        assert answer.status_code == 400
        assert answer.json()["error"]["message"].startswith(f"{OTHER_MODEL.id} has no calibration")

    def test_a_cascade_gives_the_last_stage_its_calibration(self, app: AppUnderTest) -> None:
        body = app.rerank(model="steps").json()
        assert relevances(body)[:2] == pytest.approx(MAPPED[:2])
        assert body["meta"]["calibrated"] is False

    def test_a_fallback_takes_a_member_that_can_be_calibrated(self, app: AppUnderTest) -> None:
        body = app.rerank(model="first", calibrated=True).json()
        assert (body["model"], body["meta"]["calibrated"]) == (OWN.id, True)
        assert relevances(body) == pytest.approx(MAPPED)


def test_models_show_their_calibration(app: AppUnderTest) -> None:
    app.rerank(model=OWN.id)
    app.rerank(model=STALE.id)
    listed = {model["id"]: model for model in app.client.get("/v1/models").json()["data"]}
    expected = {
        "method": "isotonic",
        "reference": "acme/reference",
        "date": "2026-11-26",
        "data": "f" * 32,
        "by_default": True,
        "fits": True,
    }
    assert listed[OWN.id]["calibration"] == expected
    assert listed[OWN.id]["fingerprint"] == WEIGHTS
    stale = listed[STALE.id]["calibration"]
    assert (stale["by_default"], stale["fits"]) == (False, False)
    assert listed[OTHER_MODEL.id]["calibration"] is None
    assert listed["both"]["calibration"] is None


def test_a_strict_main_dialect_gives_what_the_card_says_and_no_further_field(tmp_path: Path) -> None:
    write_calibration(tmp_path / "calibrations" / "acme--own.json", fitted(OWN.id))
    strict = MainDialect.STRICT_VLLM
    with AppUnderTest(tmp_path / "models", cards=(MODEL, OWN), main_dialect=strict) as app:
        body = app.rerank(model=OWN.id, calibrated=False).json()
        assert relevances(body) == pytest.approx(MAPPED)
        assert "calibrated" not in body.get("meta", {})
