"""Shadows, as callers and Prometheus see them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pytest

from rerank.access.keyring import key_hash
from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.shadows import Shadow
from rerank.core import Caller, Finished, PendingLogits
from rerank.scorers.base import Scorer
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from tests.service.conftest import OpenApp
from tests.support.app import MODEL, AppUnderTest, BrokenScorer
from tests.support.waiting import wait_until

OTHER, BROKEN, IDLE = ModelCard("acme/other"), ModelCard("acme/broken"), ModelCard("acme/idle")
CARDS = (
    MODEL,
    OTHER,
    BROKEN,
    IDLE,
    *(ModelCard(f"like-{card.basename}", shadow=Shadow(card.id, 1)) for card in (OTHER, BROKEN, IDLE)),
)


class Reversed(WordOverlapScorer):
    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        return Finished([-self._overlap(pair) for pair in batch])


class Models:
    def __init__(self) -> None:
        self.scorers: dict[str, Callable[[], Scorer]] = {
            OTHER.id: Reversed,
            BROKEN.id: lambda: BrokenScorer(RuntimeError("out of ideas")),
        }
        self.loads: list[str] = []
        self.app: AppUnderTest

    def load(self, card: ModelCard) -> LoadedModel:
        self.loads.append(card.id)
        return self.app.loaded(card, self.scorers.get(card.id, WordOverlapScorer)())


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def app(models: Models, open_app: OpenApp) -> AppUnderTest:
    keys = {key_hash("sk-chat"): Caller("chat", requests_per_minute=1, models=("like-other",))}
    models.app = open_app(load=models.load, cards=CARDS, named_keys=keys, keys=["sk-all"])
    models.app.client.headers["Authorization"] = "Bearer sk-all"
    return models.app


def metric(app: AppUnderTest, line: str) -> float | None:
    found = re.search(rf"^{re.escape(line)} (\S+)$", app.client.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else None


def counted(model: str, shadow: str, outcome: str) -> str:
    return f'rerank_shadows_total{{model="{model}",outcome="{outcome}",shadow="{shadow}"}}'


def disagreement(measure: str) -> str:
    return f'rerank_shadow_disagreement_sum{{measure="{measure}",model="like-other",shadow="{OTHER.id}"}}'


def test_the_ranking_of_a_shadow_is_compared_and_never_answered(app: AppUnderTest) -> None:
    app.rerank(model=OTHER.id)
    answer = app.rerank(model="like-other").json()
    assert [each["index"] for each in answer["results"]] == [1, 0, 2]
    assert {attempt["model"] for attempt in answer["meta"]["route"]} == {"like-other"}
    wait_until(lambda: metric(app, counted("like-other", OTHER.id, "compared")) == 1)
    assert metric(app, disagreement("top1")) == 1
    assert metric(app, disagreement("kendall")) == pytest.approx(2)


def test_a_failing_shadow_is_counted_and_the_answer_is_as_without_it(app: AppUnderTest) -> None:
    app.rerank(model=BROKEN.id)
    answer = app.rerank(model="like-broken")
    assert answer.status_code == 200
    assert answer.json()["meta"]["degraded"] is False
    wait_until(lambda: metric(app, counted("like-broken", BROKEN.id, "failed")) == 1)


def test_a_shadow_that_is_not_in_memory_is_not_loaded(app: AppUnderTest, models: Models) -> None:
    assert app.rerank(model="like-idle").status_code == 200
    wait_until(lambda: metric(app, counted("like-idle", IDLE.id, "absent")) == 1)
    assert models.loads == ["like-idle"]


def test_a_keys_limits_and_models_do_not_concern_shadows(app: AppUnderTest) -> None:
    app.rerank(model=OTHER.id)
    app.client.headers["Authorization"] = "Bearer sk-chat"
    assert app.rerank().status_code == 200
    # what a key may not use it does not see either
    assert metric(app, counted("like-other", OTHER.id, "compared")) is None
    assert "like-other" in app.client.get("/metrics").text
    app.client.headers["Authorization"] = "Bearer sk-all"
    wait_until(lambda: metric(app, counted("like-other", OTHER.id, "compared")) == 1)
    assert metric(app, 'rerank_key_requests_total{key="chat",status="200"}') == 1
