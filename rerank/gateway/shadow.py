"""Shadows: a share of requests is also sent to another model after the answer, to measure how far the two agree."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from rerank.agreement import kendall, pearson, top_overlap
from rerank.catalog.cards import ModelCard
from rerank.catalog.shadows import Shadow
from rerank.core import Caller, ScoringOptions, ScoringRequest
from rerank.gateway.admission import Admission, Work
from rerank.gateway.estimate import held_bytes
from rerank.gateway.rarely import Rarely
from rerank.results import ScoringResult
from rerank.telemetry import stages_var
from rerank.telemetry.events import Observe, Shadowed, ShadowOutcome

logger = logging.getLogger(__name__)

Ask = Callable[[ScoringRequest], Awaitable[ScoringResult | None]]
"""The answer of the model that a request names, without admission; None if it is not in memory."""
_AFTER = 0.05
"""Seconds until a shadow begins, so that the answer to the caller is on its way."""
_MOST = 4
"""Maximum shadows in flight."""
_MOST_BYTES = 64_000_000
"""Maximum memory of their texts."""
_CALLER = Caller("shadow")
"""Its turns on a device are one caller's, however many shadows there are."""


def takes(shadow: Shadow, request: ScoringRequest, result: ScoringResult, draw: float) -> bool:
    """True if a request is to be sent to the shadow, too: by a random ``draw`` from 0 to 1, and if it can be compared.

    It can if the card's own model answered in full: several documents for one query, by relevance.
    """
    return (
        draw < shadow.share
        and request.activated
        and not (result.degraded or result.partial)
        and len({pair.query for pair in request.pairs}) == 1
        and len(request.pairs) > 1
    )


def shadow_request(shadow: Shadow, request: ScoringRequest) -> ScoringRequest:
    """What the shadow is asked: the same, but for the limits of length that are meant for the other model."""
    return ScoringRequest(
        request.pairs,
        shadow.model,
        ScoringOptions(instruction=request.options.instruction, cached=request.options.cached),
        top_n=request.top_n,
        chunking=request.chunking,
        caller=_CALLER,
    )


def agreement(answered: ScoringResult, shadowed: ScoringResult) -> dict[str, float]:
    """Measures of how far two rankings agree, as far as they are defined."""
    ours, theirs = answered.scores, shadowed.scores
    found = {
        "top1": top_overlap(ours, theirs, 1),
        "kendall": kendall(ours, theirs),
        "pearson": pearson(ours, theirs),
    }
    return {name: value for name, value in found.items() if value is not None}


class Shadows:
    """Shadows in flight. Belongs to the event loop's thread."""

    def __init__(
        self,
        ask: Ask,
        admission: Admission,
        observe: Observe,
        *,
        draw: Callable[[], float] = random.random,
        after: float = _AFTER,
    ) -> None:
        self._ask = ask
        self._admission = admission
        self._observe = observe
        self._draw = draw
        self._after = after
        self._rarely = Rarely()
        self._tasks: set[asyncio.Task[None]] = set()
        self._bytes = 0

    @property
    def in_flight(self) -> int:
        """Number of shadows that have not ended."""
        return len(self._tasks)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Drop all shadows at the end of the context."""
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def follow(self, card: ModelCard, request: ScoringRequest, result: ScoringResult) -> None:
        """Send an answered request for a card to its shadow, too, if it has one, by chance, and if there is room."""
        shadow = card.shadow
        if shadow is None or not takes(shadow, request, result, self._draw()):
            return
        size = held_bytes(request.pairs)
        if not self._has_room(size, request):
            self._observe(Shadowed(card.id, shadow.model, "dropped"))
            return
        self._bytes += size
        task = asyncio.create_task(self._run(card.id, shadow, request, result), name="shadow")
        self._tasks.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, size))

    def _has_room(self, size: int, request: ScoringRequest) -> bool:
        within = self.in_flight < _MOST and self._bytes + size <= _MOST_BYTES
        return within and self._admission.has_spare(Work(len(request.pairs), bytes=size))

    def _ended(self, task: asyncio.Task[None], size: int) -> None:
        self._tasks.discard(task)
        self._bytes -= size

    async def _run(self, model: str, shadow: Shadow, request: ScoringRequest, result: ScoringResult) -> None:
        # the request has ended, and its stages with it
        stages_var.set(None)
        await asyncio.sleep(self._after)
        outcome: ShadowOutcome = "failed"
        found: dict[str, float] = {}
        try:
            shadowed = await self._ask(shadow_request(shadow, request))
            if shadowed is None:
                outcome = "absent"
                self._warn(model, shadow, "it is not in memory, and is not loaded for a shadow")
            elif shadowed.degraded or shadowed.partial:
                self._warn(model, shadow, "its answer is degraded or partial")
            else:
                found = await asyncio.to_thread(agreement, result, shadowed)
                outcome = "compared"
        except Exception as error:
            # an upstream's message may quote a text
            self._warn(model, shadow, type(error).__name__)
        self._observe(Shadowed(model, shadow.model, outcome, found))

    def _warn(self, model: str, shadow: Shadow, reason: str) -> None:
        if self._rarely.warns(f"{model} {shadow.model}"):
            logger.warning("%s, the shadow of %s, gave no ranking: %s", shadow.model, model, reason)
