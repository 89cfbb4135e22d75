"""Settings to a running house: the one place where every part meets."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI

import rerank
from rerank.api.app import build_app
from rerank.api.dialects.table import MainDialect
from rerank.api.services import Services
from rerank.backends.loader import LocalLoader
from rerank.catalog.cards import EMBEDDED_MODEL_ID, MULTILINGUAL_MODEL_ID
from rerank.catalog.catalog import Catalog, DefaultModel, download_command
from rerank.catalog.hub import human_size
from rerank.catalog.progress import Downloads
from rerank.cli.reload import on_hangup, reload_cards
from rerank.cli.watch import watching
from rerank.devices import Device, choose_devices, free_memory, gpu_count, is_lost, is_out_of_memory, release_memory
from rerank.errors import RerankError, SettingsError
from rerank.gateway.admission import Admission
from rerank.gateway.gateway import Gateway, Limits
from rerank.gateway.readiness import Readiness
from rerank.registry.registry import Registry
from rerank.scheduling.batch import BatchSize
from rerank.scheduling.memory import Memory
from rerank.scheduling.packing import CPU_BATCH, GPU_BATCH, BatchBudget
from rerank.scheduling.scheduler import Lane, Scheduler
from rerank.scorers.base import Placement
from rerank.settings import Settings
from rerank.telemetry import configure_logging
from rerank.telemetry.metrics import Gauge, Metrics
from rerank.units import parse_memory

logger = logging.getLogger(__name__)

_STOP_SECONDS = 10
_ROOM_SECONDS = 10
_LEAST_PATIENCE = 60
"""Seconds that a device may be at one batch, however short TIMEOUT is."""


def app_from_settings(settings: Settings) -> FastAPI:
    """The application as the settings describe it. Raises SettingsError before anything is started."""
    configure_logging(settings.log_level, settings.log_format)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    devices = choose_devices(settings.device, settings.precision, settings.runtime)
    _check(catalog, settings)
    default = catalog.choose_default(settings.default_model)
    preloaded = [catalog.operator_choice(name) for name in settings.preloaded_models]
    _announce(catalog, devices, default)
    if settings.device == "auto" and gpu_count() > len(devices):
        logger.info("this machine has %d GPUs; MODEL_DEVICE=cuda uses them all", gpu_count())

    metrics = Metrics()

    @asynccontextmanager
    async def open_services() -> AsyncIterator[Services]:
        room = _Room()
        budget = _budget(devices, settings)
        scheduler = Scheduler(
            *(_lane(device, settings, room, metrics) for device in devices),
            # after TIMEOUT nobody waits for the batch any more; a short one does not make a slow device a hanging one
            patience=max(settings.timeout, _LEAST_PATIENCE),
        )
        downloads = Downloads()
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 2, thread_name_prefix="tokenise") as tokenisers:
            loader = LocalLoader(
                catalog,
                _placements(devices, settings),
                scheduler,
                tokenisers,
                endpoint=settings.hf_endpoint,
                placements_in=lambda precision: _placements(
                    choose_devices(settings.device, precision, settings.runtime), settings
                ),
                downloads=downloads,
                budget=budget,
            )
            registry = Registry(
                loader, budget, keep_alive=settings.keep_alive, observe=lambda *told: metrics.models.labels(*told).inc()
            )
            async with registry, watching(scheduler, metrics):
                room.of(registry)
                gateway = Gateway(
                    catalog,
                    registry,
                    Admission(settings.max_waiting_documents),
                    default,
                    Limits(settings.max_documents, settings.timeout, settings.load_timeout),
                )
                readiness = Readiness(gateway, preloaded)
                metrics.add_gauges(*_gauges(gateway, scheduler))

                def hang_up() -> None:
                    reload_cards(gateway, partial(_check, settings=settings), settings.default_model)
                    readiness.preload()

                with on_hangup(hang_up):
                    async with readiness.preloading():
                        yield Services(
                            gateway,
                            readiness,
                            ", ".join(map(str, devices)),
                            int(time.time()),
                            trouble=lambda: scheduler.trouble or registry.trouble,
                            stop=partial(scheduler.stop, 0),
                            downloads=downloads,
                            estimate=loader.estimate,
                        )
            await asyncio.to_thread(scheduler.stop, _STOP_SECONDS)

    return build_app(
        open_services,
        keys=settings.api_keys,
        max_body_bytes=settings.max_body_bytes,
        admin_keys=settings.admin_keys,
        metrics=metrics,
        open_paths=("/metrics",) if settings.open_metrics else (),
        pages=settings.pages,
        receive_timeout=settings.receive_timeout,
        cors_origins=settings.allowed_origins,
        main_dialect=MainDialect.STRICT_VLLM if settings.strict_vllm else MainDialect(settings.dialect),
    )


def _budget(devices: Sequence[Device], settings: Settings) -> dict[str, int]:
    """Bytes that models may take on each device."""
    budget = {device.name: parse_memory(settings.memory_budget, free_memory(device.name)) for device in devices}
    for name, size in budget.items():
        logger.info("models may take %s on %s", human_size(size), name)
    return budget


def _check(catalog: Catalog, settings: Settings) -> None:
    """Raise SettingsError unless the server can run with these cards. Puts the models that settings name among them."""
    named = settings.models_file != Settings.model_fields["models_file"].default
    if named and not settings.models_file.exists():
        raise SettingsError(f"RERANK_MODELS_FILE: there is no {settings.models_file}")
    catalog.choose_default(settings.default_model)
    for name in settings.preloaded_models:
        catalog.operator_choice(name)
    for card in catalog.cards():
        if card.precision is None:
            continue
        try:
            choose_devices(settings.device, card.precision, settings.runtime)
        except SettingsError as error:
            raise SettingsError(f"{settings.models_file}: {card.id}: precision {card.precision}: {error}") from error


def _placements(devices: Sequence[Device], settings: Settings) -> list[Placement]:
    return [Placement(device, settings.models_dir / ".openvino", settings.max_seq_length) for device in devices]


class _Room:
    """Room for a batch that ran out of memory: models that nobody uses go. Called on the devices' threads."""

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def of(self, registry: Registry) -> None:
        """Have this registry's models make room, on the loop that runs now."""
        self._registry, self._loop = registry, asyncio.get_running_loop()

    def make(self) -> None:
        """Give back what can be given back, and wait for it."""
        if self._registry and self._loop:
            leaving = asyncio.run_coroutine_threadsafe(self._registry.unload_idle(), self._loop)
            try:
                leaving.result(_ROOM_SECONDS)
            except (RerankError, TimeoutError) as error:
                logger.warning("no room could be made for a batch: %s", error or "models take long to leave")
        release_memory()


def _gauges(gateway: Gateway, scheduler: Scheduler) -> tuple[Gauge, ...]:
    def model_bytes() -> dict[str, float]:
        return {model.card.id: sum(model.size.values()) for model in gateway.registry.loaded()}

    def working() -> dict[str, float]:
        return dict(scheduler.working())

    return (
        Gauge("rerank_waiting_pairs", "Pairs in line that no batch has taken.", lambda: scheduler.waiting_pairs),
        Gauge("rerank_longest_wait_seconds", "How long the request at the head waits.", lambda: scheduler.longest_wait),
        Gauge("rerank_documents_in_work", "Documents of requests in work.", lambda: gateway.admission.documents),
        Gauge("rerank_requests_in_work", "Requests in work.", lambda: gateway.admission.requests),
        Gauge("rerank_device_working", "1 while a device scores, 0 once it hangs or is lost.", working, label="device"),
        Gauge("rerank_model_bytes", "Memory of each model that is loaded.", model_bytes, label="model"),
    )


def _observed(device: str, metrics: Metrics) -> Callable[[BatchSize], None]:
    pairs, tokens = metrics.batch_pairs.labels(device), metrics.batch_tokens.labels(device)
    padding = metrics.padding.labels(device)

    def observe(size: BatchSize) -> None:
        pairs.observe(size.pairs)
        tokens.observe(size.tokens)
        padding.inc(size.computed - size.tokens)

    return observe


def _lane(device: Device, settings: Settings, room: _Room, metrics: Metrics) -> Lane:
    usual = CPU_BATCH if device.is_cpu else GPU_BATCH
    budget = BatchBudget(settings.batch_size or usual.pairs, settings.batch_tokens or usual.tokens)
    memory = Memory(partial(free_memory, device.name), is_out_of_memory, room.make)
    return Lane(device.name, budget, memory, _observed(device.name, metrics), partial(is_lost, device.name))


def _announce(catalog: Catalog, devices: Sequence[Device], default: DefaultModel) -> None:
    logger.info("rerank-gateway %s on %s", rerank.__version__, ", ".join(map(str, devices)))
    on_disk = [card.id for card in catalog.cards() if catalog.is_local(card)]
    logger.info("models on disk: %s", ", ".join(on_disk) or "none")
    logger.info("default model: %s (%s)", default.card.id, default.reason)
    if default.card.id not in on_disk:
        logger.warning("%s is not on disk: the first request for it waits for the download", default.card.id)
    if default.card.id == EMBEDDED_MODEL_ID:
        logger.warning(
            "%s ranks English well, other languages badly (Chinese worse than keyword search); for those run: %s",
            EMBEDDED_MODEL_ID,
            download_command(MULTILINGUAL_MODEL_ID),
        )
