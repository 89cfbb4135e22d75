"""The models in memory, owned by one task: everything that happens to them is an event in its queue."""

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
from rerank.registry.load_times import LoadTimes
from rerank.registry.threads import on_daemon_thread
from rerank.telemetry.events import ModelChanged, Observe, ignore

logger = logging.getLogger(__name__)

_RETRY_SECONDS = 5
"""Retry-After for a model that is still loading."""


@dataclass(frozen=True, slots=True)
class _Caller:
    """A caller that waits for an answer."""

    answer: asyncio.Future[LoadedModel | RerankError | None]
    context: contextvars.Context


class Registry:
    """Carries out the decisions of its ``Fleet``, and reports the outcomes to it.

    To be used on the event loop's thread, inside ``async with``.
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
        """Context of the request that caused each load: its id is in the load's log lines."""
        self._found: dict[str, FoundModel] = {}
        self._loaded: dict[str, LoadedModel] = {}
        self._load_times = LoadTimes()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._died: str | None = None

    async def __aenter__(self) -> Self:
        """Start the task."""
        self._task = asyncio.create_task(self._run(), name="registry")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Refuse waiting callers, and end the task. Loads in progress are abandoned."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def trouble(self) -> str | None:
        """The reason why it hands out no models; None while it does."""
        alive = self._task is not None and not self._task.done()
        return None if alive else self._died or "the server is shutting down"

    @asynccontextmanager
    async def lease(self, card: ModelCard, within: float | None = None) -> AsyncIterator[LoadedModel]:
        """The model, loaded if necessary, and kept in memory inside ``async with``.

        Raises StillLoading if the load takes more than ``within`` seconds (it continues for the next caller), and
        ModelUnavailable if it fails (the next caller retries).
        """
        ticket = next(self._tickets)
        try:
            yield await self._model(ticket, card, within)
        finally:
            self._events.put_nowait(Release(ticket))

    async def unload(self, card: ModelCard) -> None:
        """Unload the model when its requests are done, and wait for it."""
        ticket = next(self._tickets)
        await self._ask(ticket, Dismiss(ticket, card.id))

    async def unload_idle(self) -> None:
        """Unload every idle model that is not pinned, and wait for it."""
        await asyncio.gather(*(self.unload(model.card) for model in self.loaded() if self._fleet.may_go(model.card)))

    async def pin(self, card: ModelCard, *, pinned: bool) -> None:
        """Pin or unpin the model, until the server stops."""
        ticket = next(self._tickets)
        await self._ask(ticket, Pin(ticket, card.id, pinned))

    def reload(self, cards: Iterable[ModelCard]) -> None:
        """Unload the models whose card was removed or changed, when their requests are done."""
        self._events.put_nowait(Reload(tuple(cards)))

    def stop(self) -> None:
        """Refuse the callers that wait for a model; loads in progress are abandoned."""
        self._events.put_nowait(Shutdown())

    def loaded(self) -> tuple[LoadedModel, ...]:
        """Models in memory, in the order they were loaded."""
        return tuple(self._loaded.values())

    def status(self, card: ModelCard) -> Row:
        """A model's state; times are Unix time."""
        row, offset = self._fleet.row(card), time.time() - asyncio.get_running_loop().time()
        return replace(
            row,
            since=None if row.since is None else row.since + offset,
            last_used=None if row.last_used is None else row.last_used + offset,
        )

    def load_seconds(self) -> dict[str, float]:
        """Seconds of the last load of each model that was in memory since the start."""
        return self._load_times.measured

    def arrivals(self) -> dict[str, float]:
        """Expected seconds until each model that is loading, or waits for that, is in memory."""
        now, ahead = asyncio.get_running_loop().time(), 0.0
        arrivals = {}
        for model in self._fleet.arriving():
            left = self._load_times.remaining(model.card.id, sum(model.size.values()), model.since, now)
            arrivals[model.card.id] = ahead + left
            # models that take memory are loaded one after another
            ahead += left if model.takes_memory else 0.0
        return arrivals

    def rows(self) -> dict[str, Row]:
        """States of the models that are or were in memory, or on their way; times are those of the event loop."""
        return self._fleet.rows()

    @property
    def budget(self) -> Size:
        """Bytes for models on each device that has a limit."""
        return self._fleet.budget

    def free_bytes(self) -> dict[str, int]:
        """What the models leave of the budget of each device."""
        return self._fleet.free_bytes()

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
                self._load_times.begin(name, asyncio.get_running_loop().time())
                self._start(found.card, partial(self._loader.load, found))
            case Unload(name):
                model = self._loaded.pop(name)
                self._contexts[name] = contextvars.copy_context()
                self._start(model.card, partial(_close, model))

    def _tell(self, ticket: Ticket, outcome: LoadedModel | RerankError | None) -> None:
        caller = self._callers.get(ticket)
        # the Release of a caller that left may still be queued
        if caller and not caller.answer.done():
            caller.answer.set_result(outcome)

    def _start(self, card: ModelCard, work: partial[FoundModel] | partial[LoadedModel] | partial[None]) -> None:
        deliver = partial(self._deliver, card)
        on_daemon_thread(work, deliver, name=f"load-{card.basename}", context=self._contexts[card.id].copy())

    def _deliver(self, card: ModelCard, outcome: FoundModel | LoadedModel | RerankError | None) -> None:
        """Queue the outcome of work on a model as an event."""
        match outcome:
            case FoundModel():
                self._found[card.id] = outcome
                self._events.put_nowait(Found(card.id, outcome.size))
            case LoadedModel():
                self._loaded[card.id] = outcome
                self._load_times.loaded(card.id, sum(outcome.size.values()), asyncio.get_running_loop().time())
                self._observe(ModelChanged(card.id, "loaded"))
                self._events.put_nowait(Loaded(card.id, outcome.size))
            case None:
                self._observe(ModelChanged(card.id, "unloaded"))
                self._events.put_nowait(Unloaded(card.id))
            case error:
                logger.warning("loading %s failed: %s", card.id, error.message)
                self._load_times.failed(card.id)
                self._observe(ModelChanged(card.id, "failed"))
                self._events.put_nowait(Failed(card.id, error))

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        moment = self._fleet.next_tick()
        tick = partial(self._events.put_nowait, Tick())
        self._timer = None if moment is None else asyncio.get_running_loop().call_at(moment, tick)


def still_loading(card: ModelCard, seconds: float) -> StillLoading:
    """The error for a caller that has waited this long for a model."""
    return StillLoading(
        f"{card.id} is still loading after {seconds:g} s; the load continues. Retry shortly.",
        retry_after=_RETRY_SECONDS,
    )


def _close(model: LoadedModel) -> None:
    """Free a model's memory. If closing fails, the model counts as unloaded all the same."""
    try:
        model.backend.close()
        logger.info("unloaded %s", model.card.id)
    except Exception:
        logger.exception("unloading %s failed", model.card.id)
