"""The whole story of a request, whatever dialect it came in."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from rerank.backends.loader import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, DefaultModel
from rerank.core import ScoringRequest, ScoringResult
from rerank.errors import DeadlineExceeded, InvalidRequest, NothingToScore, StillLoading
from rerank.gateway.admission import Admission
from rerank.gateway.ranking import relevance
from rerank.registry.lifecycle import State
from rerank.registry.registry import Registry, still_loading
from rerank.telemetry import note_stage


@dataclass(frozen=True, slots=True)
class Limits:
    """What one request may ask for."""

    max_documents: int
    timeout: float
    """Seconds, waiting for the model included."""
    load_timeout: float | None = None
    """Seconds to wait for the model alone; None: as long as for everything."""


class Gateway:
    """Chooses the model, takes room, waits for the model, has the pairs scored."""

    def __init__(
        self, catalog: Catalog, registry: Registry, admission: Admission, default: DefaultModel, limits: Limits
    ) -> None:
        self.catalog = catalog
        self.registry = registry
        self.admission = admission
        self.default = default
        self.limits = limits

    async def score(self, request: ScoringRequest) -> ScoringResult:
        """Score every pair of a request with one model.

        Raises a RerankError: what the caller asked for is wrong, the model cannot be had, or time ran out.
        """
        self._check(request)
        card, reason = self._choose(request.model)
        model: LoadedModel | None = None
        cold = self.registry.status(card).state is not State.READY
        with self.admission.admit(len(request.pairs), waiting=cold, within=request.within) as place:
            asked = time.perf_counter()
            try:
                async with (
                    asyncio.timeout(self._seconds(request)),
                    self.registry.lease(card, self.limits.load_timeout) as model,
                ):
                    note_stage("model", time.perf_counter() - asked)
                    place.begin()
                    result = await self._score_with(model, request, reason)
                    place.done()
                    return result
            except TimeoutError:
                raise self._out_of_time(card, request, loading=model is None) from None

    async def _score_with(self, model: LoadedModel, request: ScoringRequest, reason: str) -> ScoringResult:
        raw = await model.backend.score(request.pairs, request.truncation, request.instruction)
        logits = tuple(score.logit for score in raw)
        activation = model.backend.activation
        return ScoringResult(
            logits=logits,
            scores=tuple(relevance(logit, activation) for logit in logits) if request.activated else logits,
            tokens=sum(score.tokens for score in raw),
            model=model.card.id,
            model_reason=reason,
        )

    def _choose(self, name: str | None) -> tuple[ModelCard, str]:
        if name is None:
            return self.default.card, f"default: {self.default.reason}"
        return self.catalog.resolve(name), "named in the request"

    def _check(self, request: ScoringRequest) -> None:
        if not request.pairs:
            raise NothingToScore("At least one text_pair element must be given")
        if len(request.pairs) > self.limits.max_documents:
            raise InvalidRequest(
                f"The request holds {len(request.pairs)} documents; this server takes at most "
                f"{self.limits.max_documents} at once (MAX_DOCUMENTS). Send them in parts.",
                param="documents",
            )
        if not all(pair.query.strip() for pair in request.pairs):
            raise InvalidRequest("The query must not be empty", param="query")

    def _seconds(self, request: ScoringRequest) -> float:
        return min(self.limits.timeout, request.within or self.limits.timeout)

    def _out_of_time(
        self, card: ModelCard, request: ScoringRequest, *, loading: bool
    ) -> StillLoading | DeadlineExceeded:
        seconds = self._seconds(request)
        if loading:
            return still_loading(card, seconds)
        whose = "TIMEOUT" if seconds == self.limits.timeout else "X-Request-Timeout"
        return DeadlineExceeded(f"The request was not done within {seconds:g} s ({whose}). Send fewer documents.")
