"""Settings to an application: engine, gateway and HTTP put together."""

from __future__ import annotations

import asyncio
import importlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import rerank
from rerank.access.keyring import Keyring, Keys
from rerank.access.keys_file import keys_of
from rerank.access.rate_limits import RateLimits
from rerank.access.shared_limits import SharedLimits
from rerank.catalog.built_in import EMBEDDED_MODEL_ID, MULTILINGUAL_MODEL_ID
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, download_command
from rerank.catalog.downloads import Allowed
from rerank.catalog.shadows import check_shadows
from rerank.devices import Device, choose_devices, gpu_count
from rerank.engine import Engine, download_rules
from rerank.errors import SettingsError
from rerank.gateway.admission import Admission, Work
from rerank.gateway.cache.opening import check_place, open_store
from rerank.gateway.cache.pair_cache import PairCache
from rerank.gateway.gateway import Gateway, Limits
from rerank.gateway.readiness import Readiness
from rerank.gateway.routing.plan import check_routes
from rerank.gateway.shared_work import exchanging
from rerank.server.gauges import gauges
from rerank.server.reload import on_hangup, reload_cards
from rerank.server.upstreams import check_upstreams
from rerank.settings import Settings, remarks_on_names
from rerank.shared_state.state import SharedState, open_state
from rerank.telemetry import configure_logging
from rerank.telemetry.loop_watch import watched_loop
from rerank.telemetry.metrics import Metrics
from rerank.telemetry.tracing import open_tracing

if TYPE_CHECKING:
    from fastapi import FastAPI

    from rerank.api.services import Services
    from rerank.telemetry.spans import Tracing

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What settings describe, checked; nothing is started yet."""

    settings: Settings
    catalog: Catalog
    devices: Sequence[Device]
    keyring: Keyring
    metrics: Metrics
    tracing: Tracing | None


def app_from_settings(settings: Settings) -> FastAPI:
    """The application as the settings describe it. Raises SettingsError before anything is started."""
    prepared = prepare(settings)
    return app_around(partial(open_services, prepared), prepared)


def prepare(settings: Settings) -> Prepared:
    """Check the settings, and log what they amount to. Raises SettingsError."""
    configure_logging(settings.log_level, settings.log_format)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    devices = choose_devices(settings.device, settings.precision, settings.runtime)
    keyring = Keyring(_add_names(catalog, settings))
    check_place(settings.cache_place)
    _announce(catalog, devices, settings)
    _announce_keys(keyring)
    return Prepared(settings, catalog, devices, keyring, Metrics(), open_tracing())


def app_around(open_: Callable[[], AbstractAsyncContextManager[Services]], prepared: Prepared) -> FastAPI:
    """The application around the services that ``open_`` starts."""
    from rerank.api.app import build_app
    from rerank.api.dialects.main import MainDialect

    settings = prepared.settings
    return build_app(
        open_,
        keyring=prepared.keyring,
        max_body_bytes=settings.max_body_bytes,
        max_inflight_bytes=settings.max_inflight_bytes,
        metrics=prepared.metrics,
        open_paths=("/metrics",) if settings.open_metrics else (),
        pages=settings.pages,
        tokenizer_info=settings.enable_tokenizer_info_endpoint,
        receive_timeout=settings.receive_timeout,
        cors_origins=settings.allowed_origins,
        allowed_hosts=settings.host_names,
        main_dialect=MainDialect(settings.dialect),
        tracing=prepared.tracing,
    )


@asynccontextmanager
async def open_services(prepared: Prepared) -> AsyncIterator[Services]:
    """The running services; their first model loads while the HTTP half is imported, which takes as long."""
    settings, observe = prepared.settings, prepared.metrics.observe
    with watched_loop(observe):
        async with (
            Engine.open(settings, prepared.catalog, observe=observe) as engine,
            open_state(settings.state_url, observe) as state,
            open_store(settings.cache_place, settings.cached_pairs, settings.cache_ttl, observe) as store,
        ):
            gateway = _gateway(settings, engine, PairCache(store, observe), state, prepared.metrics)
            readiness = Readiness(gateway, _preloaded(prepared.catalog, settings))
            prepared.metrics.add_gauges(*gauges(gateway, engine.scheduler, state))
            reload = partial(_reload, gateway, readiness, prepared.keyring, settings)
            with on_hangup(reload):
                async with exchanging(state, gateway.admission), readiness.preloading(), gateway.shadows.open():
                    yield await asyncio.to_thread(_services, prepared, engine, gateway, readiness, reload)
    if prepared.tracing:
        await asyncio.to_thread(prepared.tracing.close)


def _services(
    prepared: Prepared, engine: Engine, gateway: Gateway, readiness: Readiness, reload: Callable[[], bool]
) -> Services:
    # what `app_around` needs; here it blocks no event loop
    importlib.import_module("rerank.api.app")
    from rerank.api.services import Services

    return Services(
        gateway,
        readiness,
        ", ".join(map(str, prepared.devices)),
        int(time.time()),
        trouble=lambda: engine.trouble,
        stop=engine.stop,
        reload=reload,
        downloads=engine.downloads,
        estimate=engine.loader.estimate,
        log_texts=prepared.settings.log_texts,
    )


def _gateway(
    settings: Settings, engine: Engine, cache: PairCache, state: SharedState | None, metrics: Metrics
) -> Gateway:
    return Gateway(
        engine.catalog,
        engine.registry,
        Admission(Work(settings.max_inflight_documents, settings.max_inflight_tokens, settings.max_inflight_bytes)),
        engine.catalog.choose_default(settings.default_model),
        Limits(
            settings.max_documents,
            settings.timeout,
            settings.load_timeout,
            in_chunks=settings.long_documents == "chunk",
        ),
        cache,
        metrics.observe,
        RateLimits(SharedLimits(state) if state else None),
    )


def _add_names(catalog: Catalog, settings: Settings) -> Keys:
    """Add the models that settings and keys name to the cards; the keys.

    Raises SettingsError unless the server can run with all of them.
    """
    for field in ("models_file", "keys_file"):
        file: Path = getattr(settings, field)
        if file != Settings.model_fields[field].default and not file.exists():
            raise SettingsError(f"RERANK_{field.upper()}: there is no {file}")
    catalog.choose_default(settings.default_model)
    _preloaded(catalog, settings)
    _check_routes(catalog, settings)
    for card in catalog.cards():
        if card.precision is None:
            continue
        try:
            choose_devices(settings.device, card.precision, settings.runtime)
        except SettingsError as error:
            raise SettingsError(f"{settings.models_file}: {card.id}: precision {card.precision}: {error}") from error
    check_upstreams(catalog.cards(), settings)
    return keys_of(settings).allowing(lambda name: catalog.operator_choice(name).id)


def _check_routes(catalog: Catalog, settings: Settings) -> None:
    def member(name: str) -> ModelCard:
        # who configures a route configures its models
        return catalog.operator_choice(catalog.resolve(name).id)

    try:
        check_routes(catalog.cards(), member)
        check_shadows(catalog.cards(), member)
    except SettingsError as error:
        raise SettingsError(f"{settings.models_file}: {error}") from error


def _preloaded(catalog: Catalog, settings: Settings) -> list[ModelCard]:
    """The models to load at start. Raises SettingsError."""
    names = settings.preloaded_models
    if names is None:
        default = catalog.choose_default(settings.default_model).card
        return [default] if catalog.is_local(default) else []
    try:
        return [catalog.operator_choice(name) for name in names]
    except SettingsError as error:
        raise SettingsError(f"RERANK_PRELOAD / --preload: {error}") from error


def _reload(gateway: Gateway, readiness: Readiness, keyring: Keyring, settings: Settings) -> bool:
    """Reload models file and keys file; if one of them is wrong, both stay unchanged, and the result is False."""
    fresh = keyring.keys

    def check(catalog: Catalog) -> None:
        nonlocal fresh
        fresh = _add_names(catalog, settings)
        keyring.check(fresh, settings.keys_file)

    reloaded = reload_cards(gateway, check, settings.default_model)
    if reloaded:
        keyring.keys = fresh
        _announce_keys(keyring)
    readiness.preload()
    return reloaded


def _announce_keys(keyring: Keyring) -> None:
    """Log the names of the keys, never the keys."""
    if callers := keyring.keys.callers:
        logger.info("keys: %s", ", ".join(f"{key.name} (admin)" if key.admin else key.name for key in callers.values()))


def _announce(catalog: Catalog, devices: Sequence[Device], settings: Settings) -> None:
    for remark in remarks_on_names():
        logger.info(remark)
    logger.info("rerank-gateway %s on %s", rerank.__version__, ", ".join(map(str, devices)))
    if settings.device == "auto" and gpu_count() > len(devices):
        logger.info("this machine has %d GPUs; MODEL_DEVICE=cuda uses them all", gpu_count())
    on_disk = [card.id for card in catalog.cards() if catalog.is_local(card)]
    logger.info("models on disk: %s", ", ".join(on_disk) or "none")
    default = catalog.choose_default(settings.default_model)
    logger.info("default model: %s (%s)", default.card.id, default.reason)
    if default.card.has_weights and default.card.id not in on_disk:
        off = download_rules(settings).allowed is Allowed.OFF
        outcome = "it is not fetched (RERANK_DOWNLOADS=off)" if off else "the first request waits for the download"
        logger.warning("%s is not on disk: %s", default.card.id, outcome)
    if default.card.id == EMBEDDED_MODEL_ID:
        logger.warning(
            "%s ranks English well, other languages badly (Chinese worse than keyword search); for those run: %s",
            EMBEDDED_MODEL_ID,
            download_command(MULTILINGUAL_MODEL_ID),
        )
