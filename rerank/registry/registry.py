"""The models in memory. One task owns them: whatever happens to them is an event in its line."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import logging
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Self, cast

from rerank.backends.base import FoundModel, LoadedModel, Loader
from rerank.catalog.cards import ModelCard
from rerank.errors import OutOfOrder, RerankError, ServerStopping, StillLoading
from rerank.registry.events import (
    Decision,
    Dismiss,
    Done,
    Event,
    Failed,
    Find,
    Found,
    Grant,
    Load,
    Loaded,
    Pin,
    Refuse,
    Release,
    Reload,
    Shutdown,
    Tick,
    Ticket,
    Unload,
    Unloaded,
    Want,
)
from rerank.registry.eviction import Size
from rerank.registry.fleet import Fleet, Row
from rerank.registry.threads import on_daemon_thread
from rerank.telemetry.events import ModelChanged, Observe, ignore

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5
"""When to ask again for a model that is being loaded."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """Somebody who waits for an answer."""

    answer: asyncio.Future[LoadedModel | RerankError | None]
    context: contextvars.Context


class Registry:
    """Carries out what its ``Fleet`` decides, and tells it what came of it.

    Its methods belong to the event loop's thread. It works inside ``async with``.
    """

    def __init__(
        self,
        loader: Loader,
        budget: Size | None = None,
        *,
        keep_alive: float = 0,
        observe: Observe = ignore,
    ) -> None:
        """``budget`` and ``keep_alive``: see ``Fleet``."""
        self._loader = loader
        self._observe = observe
        self._fleet = Fleet(budget, keep_alive)
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._tickets = itertools.count(1)
        self._callers: dict[Ticket, _Caller] = {}
        self._contexts: dict[str, contextvars.Context] = {}
        """Of who caused each load: with it, the load's log lines carry the id of the request."""
        self._found: dict[str, FoundModel] = {}
        self._loaded: dict[str, LoadedModel] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._died: str | None = None

    async def __aenter__(self) -> Self:
        """Begin to work."""
        self._task = asyncio.create_task(self._run(), name="registry")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Refuse who waits, and end. Loads under way are abandoned."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def trouble(self) -> str | None:
        """Why no model can be had from it; None while they can."""
        alive = self._task is not None and not self._task.done()
        return None if alive else self._died or "the server is shutting down"

    @asynccontextmanager
    async def lease(self, card: ModelCard, within: float | None = None) -> AsyncIterator[LoadedModel]:
        """The model, loaded if need be, and kept in memory inside of ``async with``.

        Raises StillLoading where it is not there ``within`` so many seconds (the load goes on for the next caller), and
        ModelUnavailable where it cannot be loaded (the next caller tries again).
        """
        ticket = next(self._tickets)
        try:
            yield await self._model(ticket, card, within)
        finally:
            self._events.put_nowait(Release(ticket))

    async def unload(self, card: ModelCard) -> None:
        """Have the model leave memory when its running work is done, and wait until it has."""
        ticket = next(self._tickets)
        await self._ask(ticket, Dismiss(ticket, card.id))

    async def unload_idle(self) -> None:
        """Have every model leave memory that nobody uses and nobody pinned, and wait until they have."""
        await asyncio.gather(*(self.unload(model.card) for model in self.loaded() if self._fleet.may_go(model.card)))

    async def pin(self, card: ModelCard, *, pinned: bool) -> None:
        """Keep the model in memory once it is there, or no longer do; until the server stops."""
        ticket = next(self._tickets)
        await self._ask(ticket, Pin(ticket, card.id, pinned))

    def reload(self, cards: Iterable[ModelCard]) -> None:
        """The catalog was read anew: models whose card is gone or changed leave memory when their work is done."""
        self._events.put_nowait(Reload(tuple(cards)))

    def stop(self) -> None:
        """Tell those who wait for a model that the server stops; the loads themselves are abandoned."""
        self._events.put_nowait(Shutdown())

    def loaded(self) -> tuple[LoadedModel, ...]:
        """Models in memory, in order of loading."""
        return tuple(self._loaded.values())

    def status(self, card: ModelCard) -> Row:
        """Where a model is; moments are Unix time."""
        row, offset = self._fleet.row(card), time.time() - asyncio.get_running_loop().time()
        return replace(
            row,
            since=None if row.since is None else row.since + offset,
            last_used=None if row.last_used is None else row.last_used + offset,
        )

    async def _model(self, ticket: Ticket, card: ModelCard, within: float | None) -> LoadedModel:
        try:
            async with asyncio.timeout(within):
                return cast(LoadedModel, await self._ask(ticket, Want(ticket, card)))
        except TimeoutError:
            raise still_loading(card, within or 0) from None

    async def _ask(self, ticket: Ticket, event: Event) -> LoadedModel | None:
        if self.trouble:
            raise self._refusal()
        answer: asyncio.Future[LoadedModel | RerankError | None] = asyncio.get_running_loop().create_future()
        self._callers[ticket] = _Caller(answer, contextvars.copy_context())
        self._events.put_nowait(event)
        try:
            outcome = await answer
        finally:
            del self._callers[ticket]
        if isinstance(outcome, RerankError):
            raise outcome.with_traceback(None)
        return outcome

    async def _run(self) -> None:
        try:
            while True:
                event = await self._events.get()
                for decision in self._fleet.handle(event, asyncio.get_running_loop().time()):
                    self._carry_out(decision)
                self._set_timer()
        except Exception:
            logger.exception("the model registry crashed")
            self._died = "the model registry crashed; restart the server"
        finally:
            for ticket in self._callers:
                self._tell(ticket, self._refusal())

    def _refusal(self) -> RerankError:
        return OutOfOrder(self._died) if self._died else ServerStopping("The server is shutting down.")

    def _carry_out(self, decision: Decision) -> None:
        match decision:
            case Grant(ticket, name):
                self._tell(ticket, self._loaded[name])
            case Refuse(ticket, error):
                self._tell(ticket, error)
            case Done(ticket):
                self._tell(ticket, None)
            case Find(card, ticket):
                caller = self._callers.get(ticket)
                self._contexts[card.id] = caller.context if caller else contextvars.copy_context()
                self._start(card, partial(self._loader.find, card))
            case Load(name):
                found = self._found.pop(name)
                self._start(found.card, partial(self._loader.load, found))
            case Unload(name):
                model = self._loaded.pop(name)
                self._contexts[name] = contextvars.copy_context()
                self._start(model.card, partial(_close, model))

    def _tell(self, ticket: Ticket, outcome: LoadedModel | RerankError | None) -> None:
        caller = self._callers.get(ticket)
        # a caller that left may not have been heard of yet; its Release is in the line
        if caller and not caller.answer.done():
            caller.answer.set_result(outcome)

    def _start(self, card: ModelCard, work: partial[FoundModel] | partial[LoadedModel] | partial[None]) -> None:
        deliver = partial(self._deliver, card)
        on_daemon_thread(work, deliver, name=f"load-{card.basename}", context=self._contexts[card.id].copy())

    def _deliver(self, card: ModelCard, outcome: FoundModel | LoadedModel | RerankError | None) -> None:
        """What came of work on a model, as the event it is."""
        match outcome:
            case FoundModel():
                self._found[card.id] = outcome
                self._events.put_nowait(Found(card.id, outcome.size))
            case LoadedModel():
                self._loaded[card.id] = outcome
                self._observe(ModelChanged(card.id, "loaded"))
                self._events.put_nowait(Loaded(card.id, outcome.size))
            case None:
                self._observe(ModelChanged(card.id, "unloaded"))
                self._events.put_nowait(Unloaded(card.id))
            case error:
                logger.warning("loading %s failed: %s", card.id, error.message)
                self._observe(ModelChanged(card.id, "failed"))
                self._events.put_nowait(Failed(card.id, error))

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        moment = self._fleet.next_tick()
        tick = partial(self._events.put_nowait, Tick())
        self._timer = None if moment is None else asyncio.get_running_loop().call_at(moment, tick)


def still_loading(card: ModelCard, seconds: float) -> StillLoading:
    """The error for a caller that has waited so long for a model."""
    return StillLoading(
        f"{card.id} is still loading after {seconds:g} s; the load goes on. Try again shortly.",
        retry_after=_RETRY_SECONDS,
    )


def _close(model: LoadedModel) -> None:
    """Give a model's memory back. One that cannot be closed counts as gone all the same: nobody uses it any more."""
    try:
        model.backend.close()
        logger.info("%s is no longer in memory", model.card.id)
    except Exception:
        logger.exception("unloading %s failed", model.card.id)
