"""The scorer or its device breaks while it scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import pytest
from httpx2 import Response

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.core import Finished, PendingLogits
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from tests.service.conftest import OpenApp
from tests.support.app import MODEL, OTHER_MODEL, PATIENCE, AppUnderTest, GatedScorer, indices

from .aftermath import SECRET, assert_out_of_order, assert_ready, assert_well, refused

Fault = Callable[[], Sequence[float]]
ONE_BATCH = ["Berlin is big", "capital of France", "cheese is yellow"]


class Panic(BaseException):
    """As native code throws it: no Exception, and the end of the thread."""


class FaultyScorer(GatedScorer):
    """Waits at the gate with each batch; while ``fault`` is set, what it gives is the answer."""

    fault: Fault | None = None

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        scored = super().start(batch)
        return Finished(list(self.fault())) if self.fault else scored


class Scene:
    """A caller whose batch is held on the device, and another behind it in line, for another model."""

    def __init__(self, app: AppUnderTest, scorer: FaultyScorer) -> None:
        self.app = app
        self.scorer = scorer
        self.hit: Future[Response] = app.rerank_meanwhile(documents=ONE_BATCH)
        assert scorer.reached.wait(PATIENCE)
        self.behind: Future[Response] = app.rerank_meanwhile(model=OTHER_MODEL.id)
        app.scheduler.wait_for_jobs(2)

    def goes_wrong(self, fault: Fault) -> None:
        """Let the batch that is held end so."""
        self.scorer.fault = fault
        self.scorer.gate.set()


@pytest.fixture
def scene(open_app: OpenApp) -> Iterator[Scene]:
    scorer = FaultyScorer()

    def load(card: ModelCard) -> LoadedModel:
        return app.loaded(card, scorer if card.id == MODEL.id else WordOverlapScorer())

    app: AppUnderTest = open_app(scorer, load=load)
    scene = Scene(app, scorer)
    yield scene
    scorer.gate.set()


def raising(error: BaseException) -> Fault:
    def fail() -> Sequence[float]:
        raise error

    return fail


def answering(*logits: float) -> Fault:
    return lambda: logits


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (raising(RuntimeError(SECRET)), "The model failed while scoring."),
        (answering(math.nan, 1.0, 1.0), "not a finite number"),
        (answering(1.0, math.inf, 1.0), "not a finite number"),
        (answering(1.0, -math.inf, 1.0), "not a finite number"),
        (answering(1.0), "The model gave 1 results for 3 inputs."),
        (answering(1.0, 1.0, 1.0, 1.0), "The model gave 4 results for 3 inputs."),
    ],
    ids=["raises", "NaN", "infinity", "minus infinity", "too few", "too many"],
)
def test_a_scorer_that_fails(scene: Scene, fault: Fault, said: str) -> None:
    scene.goes_wrong(fault)
    assert said in refused(scene.hit.result(PATIENCE), 500)
    assert indices(scene.behind.result(PATIENCE)) == [1, 0, 2]
    assert_ready(scene.app.client)
    scene.scorer.fault = None
    assert_well(scene.app)


def test_a_thread_that_dies(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.goes_wrong(raising(Panic(SECRET)))
    assert "The scoring thread died" in refused(scene.hit.result(PATIENCE), 500)
    why = "the scoring thread of test died; restart the server"
    assert why in refused(scene.behind.result(PATIENCE), 503)
    assert_out_of_order(scene.app, why)
    assert "the scoring thread of test died" in caplog.text


def test_a_device_that_is_lost(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.app.scheduler.device_is_lost = True
    scene.goes_wrong(raising(RuntimeError("CUDA error: an illegal memory access was encountered")))
    assert "The model failed while scoring." in refused(scene.hit.result(PATIENCE), 500)
    why = "every call to test fails since an error on it; restart the server"
    assert why in refused(scene.behind.result(PATIENCE), 503)
    assert_out_of_order(scene.app, why)
    assert "an illegal memory access" in caplog.text
    assert scene.app.scheduler.working() == {"test": False}


def test_a_batch_that_hangs_and_comes_back_after_all(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = scene.app.scheduler
    scheduler.pass_by(60)
    assert_ready(scene.app.client)
    scheduler.pass_by(1)
    why = "test is stuck: its batch has run for more than 60 s"
    assert why in refused(scene.behind.result(PATIENCE), 503)
    assert_out_of_order(scene.app, why)
    scheduler.pass_by(100)
    assert [record.getMessage() for record in caplog.records].count(
        "test is stuck: its batch has run for more than 60 s"
    ) == 1

    scene.scorer.gate.set()
    assert indices(scene.hit.result(PATIENCE)) == [1, 0, 2]
    while scheduler.trouble:
        scheduler.look()
    assert_well(scene.app)
    assert "test works again: its batch ended" in caplog.text


def test_a_batch_that_hangs_for_longer_than_its_callers_wait(open_app: OpenApp) -> None:
    scorer = FaultyScorer()
    app = open_app(scorer)
    scorer.gate.set()
    assert app.rerank().status_code == 200
    scorer.gate.clear()
    app.allow(0.5)
    assert "not done within 0.5 s (TIMEOUT)" in refused(app.rerank(), 504)
    app.scheduler.pass_by(61)
    assert_out_of_order(app, "test is stuck: its batch has run for more than 60 s")
    scorer.gate.set()
    app.allow(PATIENCE)
    while app.scheduler.trouble:
        app.scheduler.look()
    assert_well(app)
