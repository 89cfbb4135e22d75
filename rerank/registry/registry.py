"""The models in memory: loaded at the first request for them, one load however many ask, kept from then on."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Set

from rerank.backends.loader import LoadedModel, LoadModel
from rerank.catalog.cards import ModelCard
from rerank.errors import ModelUnavailable, RerankError, ServerStopping

logger = logging.getLogger(__name__)


class Registry:
    """Owns what is loaded. Every method belongs to the event loop's thread, so no state needs a lock."""

    def __init__(self, load: LoadModel) -> None:
        self._load = load
        self._loaded: dict[str, LoadedModel] = {}
        self._loading: dict[str, asyncio.Future[LoadedModel]] = {}
        # loads under way of models forgotten meanwhile: who waits gets them, nobody after
        self._outdated: set[asyncio.Future[LoadedModel]] = set()

    async def get(self, card: ModelCard) -> LoadedModel:
        """The loaded model; loads it, or joins the load under way.

        A caller that is cancelled leaves the load going for the next one. Raises ModelUnavailable; a failed load is
        forgotten, so the next request tries again.
        """
        if card.id in self._loaded:
            return self._loaded[card.id]
        if card.id not in self._loading:
            load = _on_daemon_thread(lambda: self._load(card), name=f"load-{card.basename}")
            self._loading[card.id] = load
            load.add_done_callback(lambda done: self._finish(card, done))
        return await asyncio.shield(self._loading[card.id])

    def stop(self) -> None:
        """Tell those who wait for a load that the server stops; the loads themselves are abandoned."""
        for load in (*self._loading.values(), *self._outdated):
            if not load.done():
                load.set_exception(ServerStopping("The server is shutting down."))

    def forget(self, ids: Set[str]) -> None:
        """Let go of models: requests that have one, or wait for its load, keep it; the next one loads anew."""
        for model_id in ids:
            self._loaded.pop(model_id, None)
            if load := self._loading.pop(model_id, None):
                self._outdated.add(load)

    def loaded(self) -> tuple[LoadedModel, ...]:
        """Models in memory, in order of loading."""
        return tuple(self._loaded.values())

    def is_loading(self, card: ModelCard) -> bool:
        """True while a load of the model is under way."""
        return card.id in self._loading

    def _finish(self, card: ModelCard, load: asyncio.Future[LoadedModel]) -> None:
        outdated = load in self._outdated
        if outdated:
            self._outdated.remove(load)
        else:
            del self._loading[card.id]
        if load.cancelled():
            return
        error = load.exception()
        if error is None and not outdated:
            self._loaded[card.id] = load.result()
        elif isinstance(error, RerankError):
            logger.warning("loading %s failed: %s", card.id, error.message)


def _on_daemon_thread(load: Callable[[], LoadedModel], name: str) -> asyncio.Future[LoadedModel]:
    """Run a load on a thread that cannot keep the process alive: Ctrl-C must not wait for gigabytes of weights."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[LoadedModel] = loop.create_future()

    def deliver(result: LoadedModel | None, error: Exception | None) -> None:
        if future.done():
            return
        if result is not None:
            future.set_result(result)
        else:
            future.set_exception(error or ModelUnavailable("The load ended without a model."))

    def run() -> None:
        try:
            result, error = load(), None
        except RerankError as known:
            result, error = None, known
        except BaseException as unexpected:  # a panic in a native library is no Exception, yet callers wait
            logger.exception("%s failed", name)
            result, error = None, ModelUnavailable("Loading the model failed; the server's log says why.")
            error.__cause__ = unexpected
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, result, error)

    # with the context its log lines carry the id of the request that asked for the model
    threading.Thread(target=contextvars.copy_context().run, args=(run,), name=name, daemon=True).start()
    return future
