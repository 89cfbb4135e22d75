"""Speed of a model on a device of this machine, in one precision."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rerank.backends.base import LoadedModel, Local
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.weight_files import shapes
from rerank.core import ScoringOptions
from rerank.devices import peak_memory, torch_dtype
from rerank.engine import Engine
from rerank.evaluation.floor import largest, layer_matrices, operations
from rerank.evaluation.workload import Request, endless
from rerank.settings import read_settings
from rerank.telemetry.events import BatchStarted

_IN_FLIGHT_ON_CPU = 2
_IN_FLIGHT_ON_GPU = 32
"""Requests in flight when throughput is measured."""
_MINIMUM = 3
"""Requests that are timed, however long they take."""


@dataclass(frozen=True, slots=True)
class Run:
    """What is measured."""

    model: str
    """The model's name."""
    device: str
    precision: str
    requests: Sequence[Request]
    seconds: float
    """To measure latency and throughput together, at least."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Figures of a run."""

    model: str
    device: str
    precision: str
    """The one that the model runs in: a network that OpenVINO cannot run in int8 is fp32."""
    runtime: str
    load_seconds: float
    memory_bytes: int
    """The process's on a CPU; the peak on a GPU."""
    pairs_per_second: float
    tokens_per_second: float
    p50_ms: float
    """Median time of a request that is alone."""
    documents: float
    """Median number of documents per request."""
    matrix_share: float | None
    """Share of the device's rate in matrix products that the layers' products reach; None where it is not known."""


class _Counted:
    """Tokens that devices computed, without padding."""

    def __init__(self) -> None:
        self.tokens = 0

    def __call__(self, event: object) -> None:
        """Count a batch."""
        if isinstance(event, BatchStarted):
            self.tokens += event.tokens


@dataclass(frozen=True, slots=True)
class _Throughput:
    seconds: float
    pairs: int
    tokens: int
    """Read for the pairs."""
    computed: int
    """Less than that where documents share the tokens of their query."""


def measure(run: Run) -> Speed:
    """Load the model, and measure. Raises RerankError and SettingsError.

    To be called in a process of its own: what another model left there would count as this one's memory.
    """
    given: dict[str, Any] = {"rerank_model_device": run.device, "rerank_model_precision": run.precision}
    settings = read_settings(given)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    # the card's own precision would be taken instead
    card = replace(catalog.operator_choice(run.model), precision=None)
    counted = _Counted()
    return asyncio.run(_measure(Engine.open(settings, catalog, observe=counted), card, run, counted))


async def _measure(engine: Engine, card: ModelCard, run: Run, counted: _Counted) -> Speed:
    async with engine, engine.registry.lease(card) as model:
        local = _local(model)
        # the first request of a process is slower
        requests = endless(run.requests)
        await _score(model, next(requests))
        latencies = await _latencies(model, run, requests)
        throughput = await _throughput(model, run, requests, counted)
        memory = sum(map(peak_memory, local.device.split(", ")))
    return Speed(
        model=card.id,
        device=local.device,
        precision=local.precision,
        runtime=local.runtime,
        load_seconds=local.load_seconds,
        memory_bytes=memory,
        pairs_per_second=throughput.pairs / throughput.seconds,
        tokens_per_second=throughput.tokens / throughput.seconds,
        p50_ms=1000 * statistics.median(latencies),
        documents=statistics.median(map(len, run.requests)),
        matrix_share=_matrix_share(engine.catalog.checkpoint(card), local, throughput),
    )


def _local(model: LoadedModel) -> Local:
    if model.local is None:
        raise ValueError(f"{model.card.id} does not run on this machine")
    return model.local


async def _score(model: LoadedModel, request: Request) -> int:
    """Tokens read."""
    return sum(score.tokens for score in await model.backend.score(request, ScoringOptions(cached=False)))


async def _latencies(model: LoadedModel, run: Run, requests: Iterator[Request]) -> list[float]:
    """Seconds of requests, one after another."""
    until, taken = time.perf_counter() + run.seconds / 2, []
    for request in requests:
        began = time.perf_counter()
        await _score(model, request)
        ended = time.perf_counter()
        taken.append(ended - began)
        if ended >= until and len(taken) >= _MINIMUM:
            break
    return taken


async def _throughput(model: LoadedModel, run: Run, requests: Iterator[Request], counted: _Counted) -> _Throughput:
    """Clients with a request in flight all the time, and at least one each."""
    pairs = tokens = 0
    computed_before, began = counted.tokens, time.perf_counter()

    async def client() -> None:
        nonlocal pairs, tokens
        for request in requests:
            # added up after the wait: the other clients add meanwhile
            read = await _score(model, request)
            tokens += read
            pairs += len(request)
            if time.perf_counter() - began >= run.seconds / 2:
                return

    clients = _IN_FLIGHT_ON_CPU if run.device == "cpu" else _IN_FLIGHT_ON_GPU
    await asyncio.gather(*(client() for _ in range(clients)))
    return _Throughput(time.perf_counter() - began, pairs, tokens, counted.tokens - computed_before)


def _matrix_share(checkpoint: Checkpoint | None, local: Local, throughput: _Throughput) -> float | None:
    matrices = _matrices(checkpoint) if checkpoint else []
    if not matrices or local.precision not in ("fp32", "bf16", "fp16"):
        return None
    # importing torch before would count as the model's memory
    from rerank.runtimes.products import products_rate

    devices = local.device.split(", ")
    rate = products_rate(*largest(matrices), torch_dtype(local.precision), devices[0])
    return operations(matrices, throughput.computed) / throughput.seconds / (rate * len(devices))


def _matrices(checkpoint: Checkpoint) -> list[tuple[int, int]]:
    """Those that every token passes; none where that is not known."""
    # tokens do not pass a decoder, and packed numbers have other shapes
    if checkpoint.config.get("is_encoder_decoder") or "quantization_config" in checkpoint.config:
        return []
    return layer_matrices(shapes(checkpoint.weight_files))
