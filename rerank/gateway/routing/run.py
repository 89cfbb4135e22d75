"""The run of a plan: models are asked as it says, and what came of each is noted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rerank.activations import IDENTITY, ToRelevance
from rerank.backends.base import LoadedModel
from rerank.calibration import Calibration
from rerank.catalog.cards import ModelCard
from rerank.core import Chunking, Pair, RawScore, ScoringRequest
from rerank.errors import DeadlineExceeded, ModelUnavailable, NotOffered, RerankError, StillLoading, placed_by
from rerank.gateway.cache.pair_cache import PairCache
from rerank.gateway.calibrated import CalibrationOf, calibrated, check_weights, wanted_calibration
from rerank.gateway.chunks import ChunkRules, chunk_pairs, chunked_scores, documents_of
from rerank.gateway.routing.fusion import fuse
from rerank.gateway.routing.layers import Layer, best, merged
from rerank.gateway.routing.plan import Blend, Cascade, Chain, Plan, Single, kept
from rerank.gateway.truncation import Truncations
from rerank.results import NOT_SCORED, Attempt, DocumentScore, StageCost
from rerank.tasks import running

logger = logging.getLogger(__name__)

Scores = list[DocumentScore]


class Answer(NamedTuple):
    """Scores of the documents that a plan was asked for, in order, and the model that gave them."""

    card: ModelCard
    scores: Scores
    degraded: bool = False
    """True if it is not the first choice's, or lacks a member of an ensemble."""
    partial: bool = False
    """True if the time budget did not suffice for everything."""
    calibrated: bool = False
    """True if all scores are made of calibrated relevance."""

    @property
    def any_scored(self) -> bool:
        """False if there was no time for any document."""
        return any(score.scored for score in self.scores)


@dataclass(frozen=True, slots=True)
class Times:
    """Moments of ``time.monotonic``."""

    seconds: float
    """Duration from the beginning to the deadline."""
    limit: str
    """What sets it, for messages."""
    deadline: float
    """When the request fails."""
    until: float | None = None
    """When the best answer so far is wanted; None waits for every score."""

    @classmethod
    def starting(cls, seconds: float, budget: float | None = None, limit: str = "") -> Times:
        """From now on."""
        now = time.monotonic()
        return cls(seconds, limit, now + seconds, None if budget is None else now + budget)

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    @property
    def budget_left(self) -> float | None:
        """Seconds until the best answer so far is wanted; None without a budget."""
        return None if self.until is None else max(self.until - time.monotonic(), 0.0)

    @property
    def has_budget(self) -> bool:
        """True if the best answer so far is wanted before the request would fail."""
        return self.until is not None and self.until < self.deadline

    def share(self, part: float) -> Times:
        """A part of the time that is left."""
        budget = self.budget_left
        return Times.starting(
            max(self.left, 0.0) * part, None if budget is None else budget * part, "its share of the request's time"
        )


class Lease(Protocol):
    """The way to a loaded model."""

    async def __call__(
        self, card: ModelCard, times: Times, use: Callable[[LoadedModel], Awaitable[Answer]], /
    ) -> Answer:
        """What ``use`` makes of the model, which is loaded first if necessary. Raises a RerankError."""
        ...


class Run:
    """One request on its way through its plan."""

    def __init__(
        self,
        request: ScoringRequest,
        lease: Lease,
        cache: PairCache,
        truncations: Truncations,
        rules: ChunkRules,
        calibration_of: CalibrationOf,
    ) -> None:
        """``rules`` say which models read long documents in chunks."""
        self._request = request
        self._lease = lease
        self._cache = cache
        self._truncations = truncations
        self._rules = rules
        self._calibration_of = calibration_of
        self.activated = request.activated
        """False while scores are raw logits."""
        self.attempts: list[Attempt] = []
        self.stages: list[StageCost] = []
        self.cached = 0
        """Pairs whose score was in the cache."""

    async def ask(self, plan: Plan, places: Sequence[int], times: Times) -> Answer:
        """The plan's scores of the documents at these places of the request. Raises a RerankError."""
        most = plan.card.max_candidates or len(places)
        answer = await self._ask(plan, places[:most], times)
        return answer._replace(scores=[*answer.scores, *[NOT_SCORED] * (len(places) - most)])

    async def _ask(self, plan: Plan, places: Sequence[int], times: Times) -> Answer:
        match plan:
            case Single():
                return await self._single(plan, places, times)
            case Chain():
                return await self._chain(plan, places, times)
            case Cascade():
                return await self._cascade(plan, places, times)
            case Blend():
                return await self._blend(plan, places, times)

    async def _single(self, plan: Single, places: Sequence[int], times: Times) -> Answer:
        card, began = plan.card, time.perf_counter()
        outcome = "cancelled"
        try:
            calibration = wanted_calibration(self._request, card, self._calibration_of)
            with placed_by(places.__getitem__):
                answer = await self._lease(card, times, lambda model: self._score(model, places, times, calibration))
            outcome = "ok" if not answer.partial or answer.any_scored else DeadlineExceeded.__name__
        except RerankError as error:
            outcome = type(error).__name__
            if not (isinstance(error, StillLoading) and times.has_budget):
                raise
            # the best answer by now
            answer = Answer(card, [NOT_SCORED] * len(places), partial=True)
        finally:
            self.attempts.append(Attempt(card.id, outcome, time.perf_counter() - began))
        return answer

    async def _score(
        self, model: LoadedModel, places: Sequence[int], times: Times, calibration: Calibration | None
    ) -> Answer:
        request, began = self._request, time.perf_counter()
        if not model.backend.gives_logits:
            self._give_relevance(model.card)
        to_relevance = self._to_relevance(model, calibration)
        pairs = [request.pairs[place] for place in places]
        chunking = self._rules.chunking(model.card, request.chunking, len(places))
        if chunking:
            answer = await self._chunked(model, pairs, chunking, times, to_relevance)
        else:
            answer = await self._whole(model, pairs, times, to_relevance)
        self._truncations.note(model.card.id, model.backend.max_length, answer.scores)
        if scored := sum(score.scored for score in answer.scores):
            tokens = sum(score.tokens for score in answer.scores)
            self.stages.append(StageCost(model.card.id, scored, tokens, time.perf_counter() - began))
        return answer._replace(calibrated=self.activated and calibration is not None)

    async def _whole(
        self, model: LoadedModel, pairs: Sequence[Pair], times: Times, to_relevance: ToRelevance
    ) -> Answer:
        raw = await self._raw(model, pairs, times)
        scores = [DocumentScore(to_relevance(score.logit), *score) if score.scored else NOT_SCORED for score in raw]
        return Answer(model.card, scores, partial=NOT_SCORED in scores)

    async def _chunked(
        self,
        model: LoadedModel,
        pairs: Sequence[Pair],
        chunking: Chunking,
        times: Times,
        to_relevance: ToRelevance,
    ) -> Answer:
        request = self._request
        try:
            async with asyncio.timeout(times.budget_left) as budget:
                spans = await model.backend.chunks(pairs, request.options, chunking, caller=request.caller.name)
        except TimeoutError:
            if not budget.expired():
                raise
            return Answer(model.card, [NOT_SCORED] * len(pairs), partial=True)
        with placed_by(documents_of(spans).__getitem__):
            raw = await self._raw(model, chunk_pairs(pairs, spans), times)
        scores = chunked_scores(spans, raw, to_relevance, chunking)
        return Answer(model.card, scores, partial=not all(score.scored for score in raw))

    async def _raw(self, model: LoadedModel, pairs: Sequence[Pair], times: Times) -> Sequence[RawScore]:
        request = self._request
        found = await self._cache.score(model, pairs, request.options, caller=request.caller.name, until=times.until)
        self.cached += found.cached
        return found.raw

    def _to_relevance(self, model: LoadedModel, calibration: Calibration | None) -> ToRelevance:
        if not self.activated:
            return IDENTITY
        if calibration:
            check_weights(self._request, model, calibration)
        return calibrated(model.backend.activation, calibration)

    def _give_relevance(self, card: ModelCard) -> None:
        """Give no raw logits. Raises InvalidRequest if nothing else will do."""
        if not self.activated and self._request.logits_only:
            raise NotOffered(f"{card.id} gives relevance only, no raw logits.", param="use_activation")
        self.activated = True

    async def _chain(self, plan: Chain, places: Sequence[int], times: Times) -> Answer:
        for number, member in enumerate(plan.members[:-1]):
            try:
                answer = await self.ask(member, places, times.share(plan.share))
            except RerankError as error:
                if not error.falls_back:
                    raise
                following = plan.members[number + 1].card.id
                logger.warning("%s is asked in place of %s: %s", following, member.card.id, error.message)
            else:
                if answer.any_scored:
                    return answer._replace(degraded=answer.degraded or number > 0)
        answer = await self.ask(plan.members[-1], places, times)
        return answer._replace(degraded=answer.degraded or len(plan.members) > 1)

    async def _cascade(self, plan: Cascade, places: Sequence[int], times: Times) -> Answer:
        self._give_relevance(plan.card)
        layers: list[Layer] = []
        answers: list[Answer] = []
        left = places
        for member, stage in zip(plan.members, plan.stages, strict=True):
            answers.append(await self.ask(member, left, times))
            layers.append(dict(zip(left, answers[-1].scores, strict=True)))
            left = best(left, layers[-1], kept(stage, self._request.top_n, len(left)))
            if not left:
                break
        return _joined(plan.card, merged(places, layers), answers)

    async def _blend(self, plan: Blend, places: Sequence[int], times: Times) -> Answer:
        self._give_relevance(plan.card)
        ensemble = plan.ensemble
        async with running(self._member(plan, member, places, times) for member in plan.members) as members:
            found = await asyncio.gather(*members)
        answers = [answer for answer in found if answer]
        if not answers:
            raise ModelUnavailable(f"No model of {plan.card.id} is available.")
        # a member that had no time for any document does not count as one that gave all of them nothing
        counted = [answer for answer in answers if answer.any_scored] or answers
        weights = [weight for weight, answer in zip(ensemble.weights, found, strict=False) if answer in counted]
        fused = _joined(plan.card, fuse([answer.scores for answer in counted], ensemble.fusion, weights), answers)
        return fused._replace(degraded=fused.degraded or len(counted) < len(found))

    async def _member(self, plan: Blend, member: Plan, places: Sequence[int], times: Times) -> Answer | None:
        """A member's answer; None if it is unavailable and the ensemble answers without it."""
        try:
            return await self.ask(member, places, times)
        except RerankError as error:
            if not error.falls_back or plan.ensemble.missing == "error":
                raise
            logger.warning("%s answers without %s: %s", plan.card.id, member.card.id, error.message)
            return None


def _joined(card: ModelCard, scores: Scores, answers: Sequence[Answer]) -> Answer:
    contributed = [answer for answer in answers if answer.any_scored]
    return Answer(
        card,
        scores,
        degraded=any(answer.degraded for answer in answers),
        partial=any(answer.partial for answer in answers),
        calibrated=bool(contributed) and all(answer.calibrated for answer in contributed),
    )
