"""Settings to a running house: the one place where every part meets."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from fastapi import FastAPI

import rerank
from rerank.api.app import build_app
from rerank.api.services import Services
from rerank.backends.loader import LocalLoader
from rerank.catalog.cards import EMBEDDED_MODEL_ID, MULTILINGUAL_MODEL_ID, ModelCard
from rerank.catalog.catalog import Catalog, DefaultModel, download_command
from rerank.devices import Device, choose_device
from rerank.errors import RerankError, SettingsError
from rerank.gateway.admission import Admission
from rerank.gateway.gateway import Gateway, Limits
from rerank.registry.registry import Registry
from rerank.scheduling.line import BatchBudget
from rerank.scheduling.worker import DeviceWorker
from rerank.scorers.base import Placement
from rerank.settings import Settings
from rerank.telemetry import configure_logging

logger = logging.getLogger(__name__)

_STOP_SECONDS = 10
_PAIRS_ON = {True: 8, False: 64}
"""Pairs a batch where the operator does not say, on a CPU or not."""


def app_from_settings(settings: Settings) -> FastAPI:
    """The application as the settings describe it. Raises SettingsError before anything is started."""
    configure_logging(settings.log_level, settings.log_format)
    named = settings.models_file != Settings.model_fields["models_file"].default
    if named and not settings.models_file.exists():
        raise SettingsError(f"RERANK_MODELS_FILE: there is no {settings.models_file}")
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    device = choose_device(settings.device, settings.precision, settings.runtime)
    default = catalog.choose_default(settings.default_model)
    preloaded = [catalog.operator_choice(name) for name in settings.preloaded_models]
    _announce(catalog, device, default)

    @asynccontextmanager
    async def open_services() -> AsyncIterator[Services]:
        worker = DeviceWorker(
            device.name, BatchBudget(settings.batch_size or _PAIRS_ON[device.is_cpu], settings.batch_tokens)
        )
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 2, thread_name_prefix="tokenise") as tokenisers:
            loader = LocalLoader(
                catalog,
                Placement(device, settings.models_dir / ".openvino", settings.max_seq_length),
                worker,
                tokenisers,
                endpoint=settings.hf_endpoint,
            )
            registry = Registry(loader)
            gateway = Gateway(
                catalog,
                registry,
                Admission(settings.max_waiting_documents),
                default,
                Limits(settings.max_documents, settings.timeout),
            )
            preloading = asyncio.create_task(_preload(registry, preloaded))

            def stop() -> None:
                registry.stop()
                worker.stop(timeout=0)

            yield Services(gateway, str(device), int(time.time()), is_alive=lambda: worker.alive, stop=stop)
            preloading.cancel()
            await asyncio.to_thread(worker.stop, _STOP_SECONDS)

    return build_app(open_services, keys=settings.api_keys, max_body_bytes=settings.max_body_bytes)


async def _preload(registry: Registry, cards: list[ModelCard]) -> None:
    for card in cards:
        try:
            await registry.get(card)
        except RerankError as error:
            logger.error("RERANK_PRELOAD: %s is not loaded: %s", card.id, error.message)


def _announce(catalog: Catalog, device: Device, default: DefaultModel) -> None:
    logger.info("rerank-gateway %s on %s", rerank.__version__, device)
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
