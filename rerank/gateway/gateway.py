"""A request from model choice to ranking, independent of its dialect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from rerank.access.rate_limits import RateLimits
from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, DefaultModel
from rerank.catalog.downloads import fetching_for
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, FAMILIES
from rerank.catalog.upstreams import deadline_var
from rerank.core import (
    Caller,
    EmbeddingRequest,
    EmbeddingResult,
    Pair,
    ScoringRequest,
    TokenizerRequest,
    TokenizerResult,
)
from rerank.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NothingToScore,
    StillLoading,
    TooManyDocuments,
    WrongTask,
)
from rerank.gateway.admission import Admission, Place, Work
from rerank.gateway.cache.pair_cache import PairCache
from rerank.gateway.calibrated import check_calibrated
from rerank.gateway.choosing import default_model, find_model
from rerank.gateway.chunks import ChunkRules
from rerank.gateway.estimate import estimated_tokens, held_bytes
from rerank.gateway.load import ServerLoad, server_load
from rerank.gateway.routing.plan import Plan, first_choice, plan_of, with_fallbacks
from rerank.gateway.routing.result import result_of, work_of
from rerank.gateway.routing.run import Run, Times
from rerank.gateway.shadow import Shadows
from rerank.gateway.truncation import Truncations
from rerank.registry.lifecycle import State
from rerank.registry.registry import Registry, still_loading
from rerank.results import ScoringResult
from rerank.telemetry import note_stage
from rerank.telemetry.events import Observe, ignore

T = TypeVar("T")
L = TypeVar("L")
R = TypeVar("R", bound=ScoringResult | EmbeddingResult | TokenizerResult[Any])
Use = Callable[[LoadedModel], Awaitable[L]]
"""Work on a loaded model."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one request."""

    max_documents: int
    timeout: float
    """Maximum seconds, waiting for the model included."""
    load_timeout: float | None = None
    """Maximum seconds to wait for the model alone; None: the same as ``timeout``."""
    in_chunks: bool = False
    """True reads long documents in chunks where neither the request nor the model's card says anything."""

    @property
    def chunks(self) -> ChunkRules:
        """How long documents are read; a chunk costs what a document costs."""
        return ChunkRules(self.in_chunks, self.max_documents)


class Gateway:
    """Model choice, admission, lease, cache, scoring and ranking."""

    def __init__(
        self,
        catalog: Catalog,
        registry: Registry,
        admission: Admission,
        default: DefaultModel,
        limits: Limits,
        cache: PairCache | None = None,
        observe: Observe = ignore,
        rates: RateLimits | None = None,
    ) -> None:
        self.catalog = catalog
        self.registry = registry
        self.admission = admission
        self.default = default
        self.limits = limits
        self.rates = rates or RateLimits()
        self._cache = cache or PairCache()
        self._truncations = Truncations(observe)
        self.shadows = Shadows(self._shadow, admission, observe)

    async def score(self, request: ScoringRequest) -> ScoringResult:
        """Score every pair of a request, with one model or as its route says.

        Raises a RerankError: the request is wrong, the model is unavailable, or time ran out.
        """
        self._check(request.pairs, "text_pair", "documents")
        check_calibrated(request)
        plan, reason = await self._plan(request)
        times = self._times(request.within, request.budget)

        async def answer(place: Place) -> ScoringResult:
            return await self._run(request, plan, reason, times, place.begin)

        work = work_of(plan, request, self.limits.chunks)
        result = await self._work(first_choice(plan), work, request.caller, request.within, answer)
        self.shadows.follow(plan.card, request, result)
        return result

    async def _run(
        self, request: ScoringRequest, plan: Plan, reason: str, times: Times, begin: Callable[[], None]
    ) -> ScoringResult:
        """The result of a plan; ``begin`` is called when a model is there."""
        lease, rules = partial(self._lease, begin), self.limits.chunks
        run = Run(request, lease, self._cache, self._truncations, rules, self.catalog.calibration)
        return result_of(request, await run.ask(plan, range(len(request.pairs)), times), run, reason)

    async def _shadow(self, request: ScoringRequest) -> ScoringResult | None:
        """A shadow's answer, without a place of its own; None if it would have to be loaded, and others evicted."""
        plan, reason = await self._plan(request)
        if self._is_cold(card for card in first_choice(plan) if card.has_weights):
            return None
        return await self._run(request, plan, reason, self._times(None), lambda: None)

    def _is_cold(self, cards: Iterable[ModelCard]) -> bool:
        """True if a model is not in memory."""
        return any(self.registry.status(card).state is not State.READY for card in cards)

    async def embed(self, request: EmbeddingRequest) -> EmbeddingResult:
        """The vector of every text of a request, by one model. Raises what ``score`` raises."""
        self._check(request.texts, "text", "texts")
        card, _ = await self._choose(request.model, request.caller)
        if self.registry.status(card).state is not State.READY:
            await asyncio.to_thread(self._refuse_reranker, card)
        pairs = [Pair("", text) for text in request.texts]
        work = Work(len(pairs), estimated_tokens(pairs, card.max_length), held_bytes(pairs))
        return await self._use(card, work, request, partial(_embed, request=request))

    def _refuse_reranker(self, card: ModelCard) -> None:
        """Refuse it before it is fetched or loaded, where its card or its files show what it is."""
        family = card.stated_family
        if family is None and (checkpoint := self.catalog.checkpoint(card)):
            family = checkpoint.family
        if family not in (None, BI_ENCODER):
            raise _gives_no_vectors(card, family)

    async def use_tokenizer(self, request: TokenizerRequest[T]) -> TokenizerResult[T]:
        """Run work on a model's tokenizer. Raises what ``score`` raises."""
        card, _ = await self._choose(request.model, request.caller)
        work = Work(request.texts, request.tokens)
        return await self._use(card, work, request, partial(_use_tokenizer, request=request))

    async def _use(
        self, card: ModelCard, work: Work, request: EmbeddingRequest | TokenizerRequest[T], use: Use[R]
    ) -> R:
        """The result of one model."""
        times = self._times(request.within)

        async def answer(place: Place) -> R:
            return await self._lease(place.begin, card, times, use)

        scored = isinstance(request, EmbeddingRequest)
        return await self._work([card], work, request.caller, request.within, answer, scored=scored)

    async def _work(
        self,
        cards: Iterable[ModelCard],
        work: Work,
        caller: Caller,
        within: float | None,
        answer: Callable[[Place], Awaitable[R]],
        *,
        scored: bool = True,
    ) -> R:
        """An answer, within what the caller's key and the server have room for. ``cards``: those it begins with.

        Unless ``scored``, it says nothing about the speed of the devices, nor about their backlog.
        """
        fetching_for.set(caller.name)
        cards = list(cards)
        cold, models = self._is_cold(cards), [card.id for card in cards if scored]
        await self.rates.check(caller, work.tokens)
        # what is refused for want of room does not count: it is sent again, here or to another server
        with self.admission.admit(
            work, caller=caller.name, waiting=cold, within=within, models=models, local=_is_local(cards)
        ) as place:
            async with self.rates.spend(caller, work.tokens) as spending:
                result = await answer(place)
                if scored:
                    place.done()
                spending.tokens = result.tokens
            return result

    def load(self) -> ServerLoad:
        """What is in memory, and how long the work in flight takes."""
        return server_load(self.admission, self.registry)

    def find(self, name: str, caller: Caller) -> ModelCard:
        """See ``find_model``."""
        return find_model(self.catalog, name, caller)

    def first_choice(self, card: ModelCard) -> list[ModelCard]:
        """The models that answer for a card if none fails: the card itself unless it is made of others."""
        return [*first_choice(plan_of(card, self.catalog.resolve))]

    def default_for(self, caller: Caller) -> DefaultModel:
        """See ``default_model``."""
        return default_model(self.catalog, self.default, caller)

    async def _lease(self, begin: Callable[[], None], card: ModelCard, times: Times, use: Use[L]) -> L:
        """The result of work on a model, which is loaded first if it is not in memory."""
        if card.route:
            raise InvalidRequest(f"{card.id} is made of other models; it can only rank.", param="model")
        model: LoadedModel | None = None
        deadline_var.set(times.deadline)
        asked = time.perf_counter()
        try:
            async with (
                asyncio.timeout(times.left) as deadline,
                self.registry.lease(card, self._load_seconds(times)) as model,
            ):
                note_stage("model", asked)
                begin()
                return await use(model)
        except TimeoutError:
            if not deadline.expired():
                raise  # the model's own
            loading = model is None and self.registry.status(card).state is not State.READY
            raise self._out_of_time(card, times, loading=loading) from None

    def _load_seconds(self, times: Times) -> float | None:
        bounds = [seconds for seconds in (self.limits.load_timeout, times.budget_left) if seconds is not None]
        return min(bounds, default=None)

    async def _plan(self, request: ScoringRequest) -> tuple[Plan, str]:
        """The request's plan, and why its model answers."""
        card, reason = await self._choose(request.model, request.caller)
        fallbacks = [(await self._choose(name, request.caller))[0] for name in request.fallbacks]
        resolve = self.catalog.resolve
        plans = [plan_of(each, resolve) for each in (card, *fallbacks)]
        return with_fallbacks(plans[0], tuple(plans[1:])), reason

    async def _choose(self, name: str | None, caller: Caller) -> tuple[ModelCard, str]:
        if name is not None:
            # looking through thousands of folders would block the event loop
            large = self.catalog.is_large
            card = await asyncio.to_thread(self.find, name, caller) if large else self.find(name, caller)
            return card, "named in the request"
        default = self.default_for(caller)
        return default.card, f"default: {default.reason}"

    def _check(self, items: Sequence[object], noun: str, param: str) -> None:
        if not items:
            raise NothingToScore(f"At least one {noun} element must be given")
        if len(items) > self.limits.max_documents:
            raise TooManyDocuments(len(items), self.limits.max_documents, param)

    def _times(self, within: float | None, budget: float | None = None) -> Times:
        limit = self.limits.timeout
        if within is None or within >= limit:
            return Times.starting(limit, budget, "TIMEOUT")
        return Times.starting(within, budget, "X-Request-Timeout")

    def _out_of_time(self, card: ModelCard, times: Times, *, loading: bool) -> StillLoading | DeadlineExceeded:
        if loading:
            return still_loading(card, times.seconds)
        took = f"{times.seconds:g} s ({times.limit})"
        return DeadlineExceeded(f"The request was not done within {took}. Send fewer documents.")


def _is_local(cards: Sequence[ModelCard]) -> bool:
    """True if the work takes time of this machine's devices, and none of another server's."""
    return any(card.has_weights for card in cards) and not any(card.upstream for card in cards)


def _gives_no_vectors(card: ModelCard, family: str) -> WrongTask:
    return WrongTask("embed", card.id, FAMILIES[family].noun)


async def _embed(model: LoadedModel, request: EmbeddingRequest) -> EmbeddingResult:
    if not model.backend.gives_vectors:
        raise _gives_no_vectors(model.card, model.local.family if model.local else CROSS_ENCODER)
    read = await model.backend.embed(request.texts, request.options, caller=request.caller.name)
    return EmbeddingResult(
        vectors=tuple(embedding.vector for embedding in read),
        tokens=sum(embedding.tokens for embedding in read),
        model=model.card.id,
    )


async def _use_tokenizer(model: LoadedModel, request: TokenizerRequest[T]) -> TokenizerResult[T]:
    value = await model.backend.use_tokenizer(request.use, caller=request.caller.name)
    return TokenizerResult(value, request.tokens, model.card.id, model.backend.max_length)
