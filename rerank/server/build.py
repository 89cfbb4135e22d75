"""Settings to a running house: the one place where every part meets."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from fastapi import FastAPI

import rerank
from rerank import cgroups
from rerank.access.keyring import Keyring, Keys, collect_keys
from rerank.access.keys_file import read_keys_file
from rerank.api.app import build_app
from rerank.api.dialects.table import MainDialect
from rerank.api.services import Services
from rerank.backends.loader import LocalLoader
from rerank.backends.tokenisers import Tokenisers
from rerank.catalog.cards import EMBEDDED_MODEL_ID, MULTILINGUAL_MODEL_ID
from rerank.catalog.catalog import Catalog, DefaultModel, download_command
from rerank.catalog.downloads import Allowed, DownloadRules, Downloads
from rerank.devices import (
    Device,
    choose_devices,
    free_memory,
    gpu_count,
    is_lost,
    is_out_of_memory,
    release_memory,
    use_cores,
)
from rerank.errors import RerankError, SettingsError
from rerank.gateway.admission import Admission, Work
from rerank.gateway.gateway import Gateway, Limits
from rerank.gateway.pair_cache import PairCache
from rerank.gateway.readiness import Readiness
from rerank.registry.registry import Registry
from rerank.scheduling.memory import Memory
from rerank.scheduling.packing import CPU_BATCH, GPU_BATCH, BatchBudget
from rerank.scheduling.scheduler import Lane, Scheduler
from rerank.scorers.base import Placement
from rerank.server.gauges import gauges, observe_batches
from rerank.server.reload import on_hangup, reload_cards
from rerank.server.watch import watching
from rerank.settings import Settings, remarks_on_names
from rerank.telemetry import configure_logging
from rerank.telemetry.metrics import Metrics
from rerank.telemetry.tracing import open_tracing
from rerank.units import human_size, parse_memory

logger = logging.getLogger(__name__)

_STOP_SECONDS = 10
_ROOM_SECONDS = 10
_LEAST_PATIENCE = 60
"""Seconds that a device may be at one batch, however short TIMEOUT is."""


def app_from_settings(settings: Settings) -> FastAPI:
    """The application as the settings describe it. Raises SettingsError before anything is started."""
    configure_logging(settings.log_level, settings.log_format)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    use_cores()
    devices = choose_devices(settings.device, settings.precision, settings.runtime)
    keyring = Keyring(_check(catalog, settings))
    default = catalog.choose_default(settings.default_model)
    preloaded = [catalog.operator_choice(name) for name in settings.preloaded_models]
    for remark in remarks_on_names():
        logger.info(remark)
    _announce(catalog, devices, default, _rules(settings))
    _announce_keys(keyring)
    if settings.device == "auto" and gpu_count() > len(devices):
        logger.info("this machine has %d GPUs; MODEL_DEVICE=cuda uses them all", gpu_count())

    metrics = Metrics()
    tracing = open_tracing()

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
        with Tokenisers(cgroups.cores()) as tokenisers:
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
                rules=_rules(settings),
            )
            registry = Registry(
                loader, budget, keep_alive=settings.keep_alive, observe=lambda *told: metrics.models.labels(*told).inc()
            )
            async with registry, watching(scheduler, metrics):
                room.of(registry)
                gateway = Gateway(
                    catalog,
                    registry,
                    Admission(
                        Work(settings.max_inflight_documents, settings.max_inflight_tokens, settings.max_inflight_bytes)
                    ),
                    default,
                    Limits(settings.max_documents, settings.timeout, settings.load_timeout),
                    PairCache(settings.cached_pairs, metrics.note_cache),
                )
                readiness = Readiness(gateway, preloaded)
                metrics.add_gauges(*gauges(gateway, scheduler))
                with on_hangup(partial(_read_again, gateway, readiness, keyring, settings)):
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
                            log_texts=settings.log_texts,
                        )
            await asyncio.to_thread(scheduler.stop, _STOP_SECONDS)
        if tracing:
            await asyncio.to_thread(tracing.close)

    return build_app(
        open_services,
        keyring=keyring,
        max_body_bytes=settings.max_body_bytes,
        max_inflight_bytes=settings.max_inflight_bytes,
        metrics=metrics,
        open_paths=("/metrics",) if settings.open_metrics else (),
        pages=settings.pages,
        tokenizer_info=settings.enable_tokenizer_info_endpoint,
        receive_timeout=settings.receive_timeout,
        cors_origins=settings.allowed_origins,
        allowed_hosts=settings.host_names,
        main_dialect=MainDialect(settings.dialect),
        tracing=tracing,
    )


def _rules(settings: Settings) -> DownloadRules:
    return DownloadRules(Allowed(settings.downloads), settings.min_free_bytes)


def _budget(devices: Sequence[Device], settings: Settings) -> dict[str, int]:
    """Bytes that models may take on each device."""
    budget = {device.name: parse_memory(settings.memory_budget, free_memory(device.name)) for device in devices}
    for name, size in budget.items():
        logger.info("models may take %s on %s", human_size(size), name)
    return budget


def _check(catalog: Catalog, settings: Settings) -> Keys:
    """Raise SettingsError unless the server can run with these cards, and with the keys of the keys file.

    Puts the models that settings and keys name among the cards, and returns the keys.
    """
    for field in ("models_file", "keys_file"):
        file: Path = getattr(settings, field)
        if file != Settings.model_fields[field].default and not file.exists():
            raise SettingsError(f"RERANK_{field.upper()}: there is no {file}")
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
    keys = collect_keys(settings.api_keys, settings.admin_keys, read_keys_file(settings.keys_file))
    return keys.allowing(lambda name: catalog.operator_choice(name).id)


def _read_again(gateway: Gateway, readiness: Readiness, keyring: Keyring, settings: Settings) -> None:
    """Take models file and keys file as they are now; where one of them is wrong, both stay as they were."""
    fresh = keyring.keys

    def check(catalog: Catalog) -> None:
        nonlocal fresh
        fresh = _check(catalog, settings)
        if keyring.guarded and not fresh.guarded:
            raise SettingsError(
                f"{settings.keys_file}: no key is left, which would open the server to everybody; "
                "restart it if that is meant"
            )

    if reload_cards(gateway, check, settings.default_model):
        keyring.keys = fresh
        _announce_keys(keyring)
    readiness.preload()


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


def _lane(device: Device, settings: Settings, room: _Room, metrics: Metrics) -> Lane:
    usual = CPU_BATCH if device.is_cpu else GPU_BATCH
    budget = BatchBudget(settings.batch_size or usual.pairs, settings.batch_tokens or usual.tokens)
    memory = Memory(partial(free_memory, device.name), is_out_of_memory, room.make)
    return Lane(device.name, budget, memory, observe_batches(device.name, metrics), partial(is_lost, device.name))


def _announce_keys(keyring: Keyring) -> None:
    """Names only; a key is logged nowhere."""
    if callers := keyring.keys.callers:
        logger.info("keys: %s", ", ".join(f"{key.name} (admin)" if key.admin else key.name for key in callers.values()))


def _announce(catalog: Catalog, devices: Sequence[Device], default: DefaultModel, rules: DownloadRules) -> None:
    logger.info("rerank-gateway %s on %s", rerank.__version__, ", ".join(map(str, devices)))
    on_disk = [card.id for card in catalog.cards() if catalog.is_local(card)]
    logger.info("models on disk: %s", ", ".join(on_disk) or "none")
    logger.info("default model: %s (%s)", default.card.id, default.reason)
    if default.card.id not in on_disk:
        off = rules.allowed is Allowed.OFF
        waits = "it is not fetched (RERANK_DOWNLOADS=off)" if off else "the first request for it waits for the download"
        logger.warning("%s is not on disk: %s", default.card.id, waits)
    if default.card.id == EMBEDDED_MODEL_ID:
        logger.warning(
            "%s ranks English well, other languages badly (Chinese worse than keyword search); for those run: %s",
            EMBEDDED_MODEL_ID,
            download_command(MULTILINGUAL_MODEL_ID),
        )
