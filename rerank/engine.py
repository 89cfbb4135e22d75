"""The running engine: devices, the scheduler that feeds them, and the models in memory. No HTTP, no limits, no keys.

It is the Python API, too: ``from rerank import Engine``.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from rerank import cgroups
from rerank.backends.base import LoadedModel, Loader
from rerank.backends.loader import LocalLoader
from rerank.backends.loaders import CardLoader
from rerank.backends.remote.http import HttpPool
from rerank.backends.remote.loader import RemoteLoader
from rerank.backends.tokenisers import Tokenisers
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.downloads import Allowed, DownloadRules, Downloads
from rerank.core import DEFAULT_OPTIONS, Pair, ScoringOptions, ScoringRequest
from rerank.devices import (
    Device,
    choose_devices,
    free_memory,
    is_lost,
    is_out_of_memory,
    release_memory,
)
from rerank.errors import RerankError
from rerank.gateway.cache.pair_cache import PairCache
from rerank.gateway.calibrated import check_calibrated
from rerank.gateway.chunks import ChunkRules
from rerank.gateway.routing.plan import plan_of
from rerank.gateway.routing.result import result_of
from rerank.gateway.routing.run import Answer, Run, Times
from rerank.gateway.truncation import Truncations
from rerank.registry.registry import Registry
from rerank.results import ScoredDocument, ScoringResult
from rerank.scheduling.batching import CPU_BATCH, GPU_BATCH, QUICK_SECONDS, BatchBudget
from rerank.scheduling.memory import Lately, Memory
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Placement
from rerank.settings import Settings, read_settings
from rerank.telemetry.events import Observe, ignore
from rerank.units import human_size, parse_memory

logger = logging.getLogger(__name__)

_STOP_SECONDS = 10
_ROOM_SECONDS = 10
_WATCH_SECONDS = 1.0
_MINIMUM_PATIENCE = 60
"""Seconds that a batch may take, however short TIMEOUT is: that one does not make a slow device a stuck one."""


class Room:
    """Frees memory for a batch that ran out of it: idle models are unloaded. Called on the devices' threads."""

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def of(self, registry: Registry) -> None:
        """Unload this registry's models, on the loop that runs now."""
        self._registry, self._loop = registry, asyncio.get_running_loop()

    def make(self) -> None:
        """Free what can be freed, and wait for it."""
        if self._registry and self._loop:
            leaving = asyncio.run_coroutine_threadsafe(self._registry.unload_idle(), self._loop)
            try:
                leaving.result(_ROOM_SECONDS)
            except (RerankError, TimeoutError) as error:
                logger.warning("could not free memory for a batch: %s", error or "unloading models takes long")
        release_memory()


class Engine:
    """Models that are loaded when they are asked for, and score. Works inside ``async with``, once."""

    def __init__(
        self,
        catalog: Catalog,
        scheduler: Scheduler,
        loader: Loader,
        tokenisers: Tokenisers,
        *,
        budget: Mapping[str, int] | None = None,
        keep_alive: float = 0,
        observe: Observe = ignore,
        downloads: Downloads | None = None,
        room: Room | None = None,
        pool: HttpPool | None = None,
    ) -> None:
        """``budget``: bytes for models on each device. ``keep_alive``: seconds an idle model stays; 0 is for ever.

        ``pool``: connections of the loader's upstreams, closed at the end.

        Most callers want ``open`` instead.
        """
        self.catalog = catalog
        self.scheduler = scheduler
        self.loader = loader
        self.downloads = downloads or Downloads()
        """Progress of the downloads."""
        self.registry = Registry(loader, budget, keep_alive=keep_alive, observe=observe)
        self._truncations = Truncations(observe)
        self._tokenisers = tokenisers
        self._room = room or Room()
        self._pool = pool or HttpPool()
        self._exits = AsyncExitStack()

    @classmethod
    def open(
        cls,
        settings: Settings | None = None,
        catalog: Catalog | None = None,
        *,
        observe: Observe = ignore,
    ) -> Self:
        """An engine as the server's settings describe it; by default those of the environment and `.env`.

        Raises SettingsError.
        """
        settings = settings or read_settings()
        catalog = catalog or Catalog.open(settings.models_dir, settings.models_file)
        placements = _placements(settings)
        devices = [placement.device for placement in placements]
        budget, room, downloads, pool = _budget(devices, settings), Room(), Downloads(), HttpPool()
        tokenisers = Tokenisers(cgroups.cores())
        scheduler = Scheduler(
            *(_device_spec(device, settings, room, observe) for device in devices),
            patience=max(settings.timeout, _MINIMUM_PATIENCE),
        )
        local = LocalLoader(
            catalog,
            placements,
            scheduler,
            tokenisers,
            endpoint=settings.hf_endpoint,
            placements_in=partial(_placements, settings),
            downloads=downloads,
            budget=budget,
            rules=download_rules(settings),
        )
        return cls(
            catalog,
            scheduler,
            CardLoader(local, RemoteLoader(pool, observe), tokenisers),
            tokenisers,
            budget=budget,
            keep_alive=settings.keep_alive,
            observe=observe,
            downloads=downloads,
            room=room,
            pool=pool,
        )

    async def __aenter__(self) -> Self:
        """Start to load and score."""
        self._exits.push_async_callback(asyncio.to_thread, self._stop_threads)
        self._exits.push_async_callback(self._pool.aclose)
        await self._exits.enter_async_context(self.registry)
        self._room.of(self.registry)
        watch = asyncio.create_task(_watch(self.scheduler), name="watch-devices")
        self._exits.callback(watch.cancel)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Fail all waiting pairs, finish the running batches, end the threads."""
        await self._exits.aclose()

    @property
    def trouble(self) -> str | None:
        """The reason why nothing can be scored; None while a device works."""
        return self.scheduler.trouble or self.registry.trouble

    def stop(self) -> None:
        """Fail all waiting pairs at once."""
        self.scheduler.stop(0)

    async def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str,
        options: ScoringOptions = DEFAULT_OPTIONS,
        top_n: int | None = None,
    ) -> list[ScoredDocument]:
        """The documents by falling relevance: all, or the ``top_n`` best.

        ``model`` is any name the server would know; its weights are fetched if they are not on disk. Raises a
        RerankError.
        """
        pairs = tuple(Pair(query, document) for document in documents)
        return list((await self.score(ScoringRequest(pairs, model, options, top_n or 0))).ranked)

    async def score(self, request: ScoringRequest) -> ScoringResult:
        """Every pair of a request that names its model, and how the scores came about. Raises a RerankError."""
        plan = plan_of(self.catalog.resolve(request.model or ""), self.catalog.resolve)
        check_calibrated(request)
        run = Run(request, self._lease, PairCache(), self._truncations, ChunkRules(), self.catalog.calibration)
        answer = await run.ask(plan, range(len(request.pairs)), Times.starting(math.inf, request.budget))
        return result_of(request, answer, run, "named in the request")

    async def _lease(self, card: ModelCard, times: Times, use: Callable[[LoadedModel], Awaitable[Answer]]) -> Answer:
        """See ``routing.run.Lease``: a script waits as long as it takes."""
        del times
        async with self.registry.lease(card) as model:
            return await use(model)

    def _stop_threads(self) -> None:
        self.scheduler.stop(_STOP_SECONDS)
        self._tokenisers.close()


def _placements(settings: Settings, precision: str | None = None) -> list[Placement]:
    """The devices in a precision, by default the settings'. Raises SettingsError."""
    devices = choose_devices(settings.device, precision or settings.precision, settings.runtime)
    converted, vectors = settings.models_dir / ".openvino", settings.vector_cache_bytes
    return [Placement(device, converted, settings.max_seq_length, vectors) for device in devices]


def download_rules(settings: Settings) -> DownloadRules:
    """Rules for downloads: permitted models, disk space to keep free."""
    return DownloadRules(Allowed(settings.downloads), settings.min_free_bytes)


def _budget(devices: Sequence[Device], settings: Settings) -> dict[str, int]:
    """Bytes for models on each device."""
    budget = {device.name: parse_memory(settings.memory_budget, free_memory(device.name)) for device in devices}
    for name, size in budget.items():
        logger.info("memory budget for models: %s on %s", human_size(size), name)
    return budget


def _device_spec(device: Device, settings: Settings, room: Room, observe: Observe) -> DeviceSpec:
    default = CPU_BATCH if device.is_cpu else GPU_BATCH
    budget = BatchBudget(settings.batch_size or default.pairs, settings.batch_tokens or default.tokens)
    memory = Memory(_free(device), is_out_of_memory, room.make)
    quick = QUICK_SECONDS if device.is_cpu and settings.batch_size is None else 0
    return DeviceSpec(device.name, budget, memory, observe, partial(is_lost, device.name), quick)


def _free(device: Device) -> Callable[[], int]:
    """Free bytes of a device: a GPU's as they are now, because its batches may take half of them."""
    free = partial(free_memory, device.name)
    return Lately(free) if device.is_cpu else free


async def _watch(scheduler: Scheduler) -> None:
    """Check for stuck devices, once per second."""
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        scheduler.look()
