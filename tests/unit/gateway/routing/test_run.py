from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace

import pytest

from rerank.backends.base import LoadedModel
from rerank.catalog.calibrations import Calibrations
from rerank.catalog.cards import ModelCard
from rerank.catalog.routes import CascadeStage, Ensemble, Fallback, Fusion, Route
from rerank.core import UNSCORED, Pair, RawScore, ScoringOptions, ScoringRequest
from rerank.errors import InvalidRequest, ModelUnavailable, RerankError, StillLoading
from rerank.gateway.cache.pair_cache import PairCache
from rerank.gateway.chunks import ChunkRules
from rerank.gateway.routing import run as run_module
from rerank.gateway.routing.plan import Plan, plan_of
from rerank.gateway.routing.run import Answer, Run, Times
from rerank.gateway.truncation import Truncations
from rerank.results import NOT_SCORED
from tests.support.clock import Clock
from tests.support.fake_loader import NoBackend, loaded

DOCUMENTS = 3
Outcome = Mapping[str, float] | RerankError | None
"""What a model does: logits by document, an error of its lease, or nothing for ever."""


class Backend(NoBackend):
    """Scores documents as a test says, none after the budget."""

    def __init__(self, models: Models, name: str) -> None:
        self._models = models
        self._name = name

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        logits = self._models.outcomes[self._name]
        self._models.entered[self._name].set()
        if logits is None:
            await asyncio.Event().wait()
        assert isinstance(logits, Mapping)
        if until is not None and until <= self._models.clock.now:
            return [UNSCORED] * len(pairs)
        return [RawScore(logits[pair.document], 5) for pair in pairs]


class Models:
    """The lease of a run. Notes for how long each model was lent."""

    def __init__(self, clock: Clock, **outcomes: Outcome) -> None:
        self.clock = clock
        self.outcomes = outcomes
        self.seconds: dict[str, float] = {}
        """What a model takes until it is lent, or fails."""
        self.entered = {name: asyncio.Event() for name in outcomes}
        self.after: dict[str, str] = {}
        """A model that fails only when another has begun to score."""
        self.lent: list[tuple[str, Times]] = []

    async def __call__(
        self, card: ModelCard, times: Times, use: Callable[[LoadedModel], Awaitable[Answer]], /
    ) -> Answer:
        self.lent.append((card.id, times))
        outcome = self.outcomes[card.id]
        self.clock.now += self.seconds.get(card.id, 0)
        if isinstance(outcome, RerankError):
            if card.id in self.after:
                await self.entered[self.after[card.id]].wait()
            raise outcome
        return await use(loaded(card, Backend(self, card.id)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of ``Times``."""
    clock = Clock(100.0)
    monkeypatch.setattr(run_module, "time", SimpleNamespace(monotonic=clock, perf_counter=time.perf_counter))
    return clock


SHARE = "its share of the request's time"


def run_of(models: Models) -> Run:
    pairs = tuple(Pair("q", str(place)) for place in range(DOCUMENTS))
    return Run(ScoringRequest(pairs), models, PairCache(), Truncations(), ChunkRules(), Calibrations().of)


def plan(route: Route | None = None, **facts: int) -> Plan:
    return plan_of(ModelCard("routed", route=route, max_candidates=facts.get("max_candidates")), ModelCard)


def logits(*values: float) -> dict[str, float]:
    return {str(place): value for place, value in enumerate(values)}


async def ask(run: Run, wanted: Plan, times: Times | None = None) -> Answer:
    return await run.ask(wanted, range(DOCUMENTS), times or Times.starting(100))


def outcomes(run: Run) -> list[tuple[str, str]]:
    return [(attempt.model, attempt.outcome) for attempt in run.attempts]


class TestChain:
    PLAN = plan(Fallback(("big", "middle", "small"), 0.5))

    async def test_each_member_has_its_share_of_the_time_left_and_the_last_all(self, clock: Clock) -> None:
        models = Models(clock, big=ModelUnavailable("no"), middle=ModelUnavailable("no"), small=logits(1, 2, 3))
        models.seconds = {"big": 10, "middle": 5}
        times = Times.starting(100, budget=40)
        run = run_of(models)
        answer = await ask(run, self.PLAN, times)
        shares = [("big", Times(50, SHARE, 150, 120)), ("middle", Times(45, SHARE, 155, 125)), ("small", times)]
        assert models.lent == shares
        assert (answer.card.id, answer.degraded, answer.partial) == ("small", True, False)
        assert outcomes(run) == [("big", "ModelUnavailable"), ("middle", "ModelUnavailable"), ("small", "ok")]

    async def test_the_first_answer_is_taken_and_no_other_model_asked(self, clock: Clock) -> None:
        models = Models(clock, big=logits(1, 2, 3))
        run = run_of(models)
        answer = await ask(run, self.PLAN)
        assert (answer.card.id, answer.degraded) == ("big", False)
        assert outcomes(run) == [("big", "ok")]

    async def test_a_member_that_scored_nothing_within_its_share_is_no_answer(self, clock: Clock) -> None:
        models = Models(clock, big=logits(1, 2, 3), small=logits(3, 2, 1))
        models.seconds["big"] = 30
        run = run_of(models)
        answer = await ask(run, plan(Fallback(("big", "small"))), Times.starting(100, budget=60))
        assert (answer.card.id, answer.degraded) == ("small", True)
        assert [score.key for score in answer.scores] == [3, 2, 1]
        assert outcomes(run) == [("big", "DeadlineExceeded"), ("small", "ok")]

    async def test_an_error_of_the_request_is_not_tried_on_another_model(self, clock: Clock) -> None:
        models = Models(clock, big=InvalidRequest("wrong"))
        run = run_of(models)
        with pytest.raises(InvalidRequest):
            await ask(run, self.PLAN)
        assert outcomes(run) == [("big", "InvalidRequest")]


class TestCascade:
    PLAN = plan((CascadeStage("small", 2), CascadeStage("big")))

    async def test_each_stage_scores_what_the_one_before_kept(self, clock: Clock) -> None:
        run = run_of(Models(clock, small=logits(1, 3, 2), big=logits(9, 1, 2)))
        answer = await ask(run, self.PLAN)
        assert [score.stage for score in answer.scores] == [1, 2, 2]
        assert sorted(range(DOCUMENTS), key=lambda place: -answer.scores[place].key) == [2, 1, 0]
        assert [(stage.model, stage.documents, stage.tokens) for stage in run.stages] == [
            ("small", 3, 15),
            ("big", 2, 10),
        ]

    async def test_without_time_for_the_second_stage_the_scores_of_the_first_stay(self, clock: Clock) -> None:
        models = Models(clock, small=logits(1, 3, 2), big=logits(9, 1, 2))
        models.seconds["big"] = 10
        run = run_of(models)
        answer = await ask(run, self.PLAN, Times.starting(100, budget=10))
        assert answer.partial
        assert [score.stage for score in answer.scores] == [1, 1, 1]
        assert sorted(range(DOCUMENTS), key=lambda place: -answer.scores[place].key) == [1, 2, 0]
        assert outcomes(run) == [("small", "ok"), ("big", "DeadlineExceeded")]

    async def test_a_second_stage_that_still_loads_is_left_out_within_a_budget(self, clock: Clock) -> None:
        run = run_of(Models(clock, small=logits(1, 3, 2), big=StillLoading("not yet")))
        answer = await ask(run, self.PLAN, Times.starting(100, budget=10))
        assert answer.partial
        assert [score.stage for score in answer.scores] == [1, 1, 1]
        assert outcomes(run) == [("small", "ok"), ("big", "StillLoading")]

    async def test_without_a_budget_a_second_stage_that_still_loads_is_an_error(self, clock: Clock) -> None:
        with pytest.raises(StillLoading):
            await ask(run_of(Models(clock, small=logits(1, 3, 2), big=StillLoading("not yet"))), self.PLAN)


class TestBlend:
    async def test_an_error_of_a_member_cancels_the_others(self, clock: Clock) -> None:
        models = Models(clock, slow=None, broken=ModelUnavailable("no"))
        models.after["broken"] = "slow"
        run = run_of(models)
        with pytest.raises(ModelUnavailable, match="no"):
            await ask(run, plan(Ensemble(("slow", "broken"))))
        assert sorted(outcomes(run)) == [("broken", "ModelUnavailable"), ("slow", "cancelled")]

    async def test_a_member_may_be_missing_if_the_route_says_so(self, clock: Clock) -> None:
        run = run_of(Models(clock, whole=logits(1, 3, 2), broken=ModelUnavailable("no")))
        route = Ensemble(("broken", "whole"), "weighted", (1.0, 3.0), missing="degrade")
        answer = await ask(run, plan(route))
        assert answer.degraded
        assert sorted(range(DOCUMENTS), key=lambda place: -answer.scores[place].key) == [1, 2, 0]
        assert sorted(outcomes(run)) == [("broken", "ModelUnavailable"), ("whole", "ok")]

    @pytest.mark.parametrize("fusion", ["rrf", "mean", "weighted"])
    async def test_a_member_that_had_no_time_does_not_count(self, clock: Clock, fusion: Fusion) -> None:
        models = Models(clock, quick=logits(1, 3, 2), late=logits(9, 9, 9))
        models.seconds["late"] = 10
        run = run_of(models)
        weights = (1.0, 3.0) if fusion == "weighted" else ()
        answer = await ask(run, plan(Ensemble(("quick", "late"), fusion, weights)), Times.starting(100, budget=10))
        alone = await ask(run_of(models), plan(Ensemble(("quick",), fusion, weights[:1])))
        assert [score.relevance for score in answer.scores] == [score.relevance for score in alone.scores]
        assert (answer.degraded, answer.partial) == (True, True)
        assert sorted(outcomes(run)) == [("late", "DeadlineExceeded"), ("quick", "ok")]

    async def test_members_of_which_none_had_time_leave_everything_unscored(self, clock: Clock) -> None:
        models = Models(clock, one=logits(1, 2, 3), two=logits(1, 2, 3))
        models.seconds["one"] = 10
        answer = await ask(run_of(models), plan(Ensemble(("one", "two"))), Times.starting(100, budget=10))
        assert (answer.any_scored, answer.degraded, answer.partial) == (False, False, True)

    async def test_without_any_member_there_is_no_answer(self, clock: Clock) -> None:
        models = Models(clock, one=ModelUnavailable("no"), two=ModelUnavailable("no"))
        with pytest.raises(ModelUnavailable, match="No model of routed is available"):
            await ask(run_of(models), plan(Ensemble(("one", "two"), missing="degrade")))

    async def test_a_run_that_is_cancelled_cancels_every_member(self, clock: Clock) -> None:
        models = Models(clock, one=None, two=None)
        run = run_of(models)
        task = asyncio.create_task(ask(run, plan(Ensemble(("one", "two"), missing="degrade"))))
        for entered in models.entered.values():
            await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sorted(outcomes(run)) == [("one", "cancelled"), ("two", "cancelled")]


async def test_documents_beyond_max_candidates_are_not_scored(clock: Clock) -> None:
    run = run_of(Models(clock, routed=logits(1, 2, 3)))
    answer = await ask(run, plan(max_candidates=2))
    assert [score.key for score in answer.scores[:2]] == [1, 2]
    assert answer.scores[2] == NOT_SCORED
    assert not answer.partial
