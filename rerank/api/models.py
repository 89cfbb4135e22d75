"""Known models: vLLM's cards, with the fields that a server of many models adds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor

from rerank.api.errors import ERROR_RESPONSES
from rerank.api.routes import Route
from rerank.api.services import Services, ServicesDep, caller_of
from rerank.backends.base import LoadedModel
from rerank.calibration import Method
from rerank.catalog.cards import ModelCard
from rerank.catalog.rerank_apis import host_of, model_of, tokens_of
from rerank.catalog.routes import kind_of, members_of
from rerank.core import Caller
from rerank.registry.fleet import Row
from rerank.registry.lifecycle import State
from rerank.schemas import Schema


class _Name(PathConvertor):
    """Whatever stands there, line ends included: what is no model is refused as one that does not exist."""

    regex = "(?s:.*)"


register_url_convertor("name", _Name())
MODEL_IN_PATH = "{model:name}"
"""Path parameter of a model's name."""


class ModelPermission(Schema):
    """Fields that OpenAI's clients expect on a card."""

    id: str
    object: Literal["model_permission"] = "model_permission"
    created: int
    allow_create_engine: bool = False
    allow_sampling: bool = True
    allow_logprobs: bool = True
    allow_search_indices: bool = False
    allow_view: bool = True
    allow_fine_tuning: bool = False
    organization: str = "*"
    group: str | None = None
    is_blocking: bool = False


class Download(Schema):
    """A download under way."""

    done: int
    """Bytes on disk."""
    total: int
    """Bytes in all."""


class UpstreamInfo(Schema):
    """The server that has a model."""

    api: str
    """Its API, as models.toml names it."""
    host: str
    """Its host and port."""
    breaker: Literal["closed", "open", "half-open"]
    """open: it failed several times in a row, and is not asked for a while; half-open: one call is trying it."""


class CalibrationInfo(Schema):
    """How a model's relevance is calibrated."""

    method: Method
    reference: str
    """The model whose relevance it gives; labels: the probability of relevance."""
    date: str
    """Day on which it was fitted."""
    data: str
    """Hash of the texts and scores that it was fitted to."""
    by_default: bool
    """True if it applies to requests that do not say `calibrated`."""
    fits: bool | None
    """False if it was fitted to other weights than are loaded, and is refused; null unless the model is loaded."""


class VllmModel(Schema):
    """One model, as vLLM and OpenAI's clients know it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    root: str
    parent: str | None = None
    max_model_len: int | None
    """Maximum tokens per pair; null if nothing on disk says."""
    permission: list[ModelPermission]


class ModelInfo(VllmModel):
    """One model, and where it is."""

    model_name: str
    """Its name without the organisation, under which Xinference's clients look for it."""
    model_type: Literal["rerank"] = "rerank"
    loaded: bool
    local: bool
    """True if the weights are on disk."""
    family: str | None
    """Way of scoring; null if neither its card nor its files say."""
    device: str | None = None
    """Devices, separated by commas; null unless it is loaded."""
    runtime: str | None = None
    """Library, precision and kernel; null unless it is loaded."""
    state: State
    """absent, loading, ready or draining (its last work ends, then it is unloaded)."""
    bytes: int | None
    """Memory it takes, or took when it was last loaded, or would take; null if nothing on disk says."""
    bytes_measured: bool
    """False where `bytes` is an estimate."""
    last_used: int | None
    """Unix time at which work on it last began or ended; null unless it is loaded."""
    precision: str | None = None
    """Numbers it computes with: fp32, bf16, fp16 or int8; null unless it is loaded."""
    takes_instruction: bool | None = None
    """False if it ignores an instruction; null unless it is loaded."""
    load_seconds: float | None = None
    """Duration of its load; null unless it is loaded."""
    loading_since: int | None
    """Unix time at which its load was requested; null unless it is loading."""
    pinned: bool
    """True if it stays in memory once it is loaded."""
    download: Download | None = None
    """Progress of its download; null if there is none."""
    fingerprint: str | None = None
    """Of its weights and how they score, for calibrations; null unless it is loaded."""
    calibration: CalibrationInfo | None = None
    """How its relevance is calibrated; null if it cannot be."""
    members: list[str] | None = None
    """Of a fallback, cascade or ensemble: the models it is made of, in order."""
    upstream: UpstreamInfo | None = None
    """The server that has it; null for a model on this one."""


class VllmModelList(Schema):
    """All models, with vLLM's fields only."""

    object: Literal["list"] = "list"
    data: list[VllmModel]


class ModelList(Schema):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelInfo]


_RESPONSES: dict[int | str, dict[str, Any]] = {401: ERROR_RESPONSES[401]}
_OF_ONE: dict[int | str, dict[str, Any]] = {status: ERROR_RESPONSES[status] for status in (403, 404)}
list_router = APIRouter(route_class=Route, tags=["models"], responses=_RESPONSES)
router = APIRouter(route_class=Route, tags=["models"], responses=_RESPONSES)


@list_router.get("/v1/models", summary="All models the server knows")
@list_router.get("/models", summary="The same, for clients whose base URL ends without /v1")
async def list_models(request: Request, services: ServicesDep) -> ModelList:
    """The default model first, then those in memory, then those on disk, then the rest; only what the key may use."""
    caller = caller_of(request)
    known = await run_in_threadpool(services.catalog.cards)
    cards = [card for card in (*known, *_removed(services, known)) if caller.may_use(card.id)]
    places = await run_in_threadpool(lambda: [_on_disk(services, card) for card in cards])
    infos = [_info(services, card, facts) for card, facts in zip(cards, places, strict=True)]
    default = services.gateway.default.card.id
    infos.sort(key=lambda info: (info.id != default, not info.loaded, not info.local))
    return ModelList(data=infos)


@router.get(f"/v1/models/{MODEL_IN_PATH}", summary="One model", responses=_OF_ONE)
async def get_model(model: str, request: Request, services: ServicesDep) -> ModelInfo:
    """A model by id or by any name it answers to; ids may hold slashes."""
    return await model_info(services, await known_or_loaded(services, model, caller_of(request)))


async def known_or_loaded(services: Services, name: str, caller: Caller) -> ModelCard:
    """The model of this name; also one in memory whose folder was removed, by its id. Raises as ``find_model``."""
    removed = _removed(services, await run_in_threadpool(services.catalog.cards))
    found = next((card for card in removed if card.id == name and caller.may_use(card.id)), None)
    if found:
        return found
    return await run_in_threadpool(services.gateway.find, name, caller)


def _removed(services: Services, known: Iterable[ModelCard]) -> list[ModelCard]:
    """Models in memory that the catalog has no more."""
    ids = {card.id for card in known}
    return [model.card for model in services.registry.loaded() if model.card.id not in ids]


async def model_info(services: Services, card: ModelCard) -> ModelInfo:
    """A model's folder and state."""
    return _info(services, card, await run_in_threadpool(_on_disk, services, card))


def _info(services: Services, card: ModelCard, known: dict[str, Any]) -> ModelInfo:
    """To be called on the event loop's thread, to which the registry belongs."""
    row = _row(services, card)
    loaded = {model.card.id: model for model in services.registry.loaded()}.get(card.id)
    progress = services.downloads.of(card.id)
    if loaded:
        known |= {"takes_instruction": loaded.backend.takes_instruction, "fingerprint": loaded.weights or None}
    if loaded and loaded.local:
        known |= {
            "max_model_len": loaded.backend.max_length,
            "family": loaded.local.family,
            "device": loaded.local.device,
            "runtime": loaded.local.runtime,
            "precision": loaded.local.precision,
            "load_seconds": round(loaded.local.load_seconds, 3),
        }
    if row.size is not None:
        known |= {"bytes": sum(row.size.values())}
    return ModelInfo(
        id=card.id,
        created=services.started,
        owned_by=card.id.split("/")[0] if "/" in card.id else "local",
        root=model_of(card.upstream, card.id) if card.upstream else card.repo or card.id,
        model_name=card.basename,
        permission=[ModelPermission(id=f"modelperm-{card.basename}", created=services.started)],
        loaded=row.state is State.READY if card.route else loaded is not None,
        download=Download(done=progress.done, total=progress.total) if progress else None,
        state=row.state,
        bytes_measured=row.measured,
        last_used=None if row.last_used is None else int(row.last_used),
        loading_since=None if row.since is None else int(row.since),
        pinned=row.pinned,
        members=[*members_of(card.route)] if card.route else None,
        upstream=_upstream_info(card, loaded),
        calibration=_calibration_info(services, card, loaded),
        **known,
    )


def _row(services: Services, card: ModelCard) -> Row:
    """The state of a model; of one that is made of others, of the first of those it asks that is not ready."""
    rows = [services.registry.status(each) for each in services.gateway.first_choice(card)]
    if not card.route:
        return rows[0]
    state = next((row.state for row in rows if row.state is not State.READY), State.READY)
    return Row(state, last_used=max((row.last_used for row in rows if row.last_used), default=None))


def _upstream_info(card: ModelCard, loaded: LoadedModel | None) -> UpstreamInfo | None:
    if card.upstream is None:
        return None
    breaker = loaded.remote.breaker() if loaded and loaded.remote else "closed"
    return UpstreamInfo(api=card.upstream.api, host=host_of(card.upstream, card.id), breaker=breaker)


def _calibration_info(services: Services, card: ModelCard, loaded: LoadedModel | None) -> CalibrationInfo | None:
    calibration = None if card.route else services.catalog.calibration(card)
    if calibration is None:
        return None
    return CalibrationInfo(
        method=calibration.method,
        reference=calibration.reference,
        date=calibration.date,
        data=calibration.data,
        by_default=card.calibration is not None,
        fits=calibration.weights == loaded.weights if loaded else None,
    )


def _on_disk(services: Services, card: ModelCard) -> dict[str, Any]:
    if card.route:
        return {"local": False, "max_model_len": None, "family": kind_of(card.route), "bytes": None}
    checkpoint = services.catalog.checkpoint(card)
    if checkpoint is None:
        length = card.max_length or (tokens_of(card.upstream) if card.upstream else None)
        return {"local": False, "max_model_len": length, "family": card.stated_family, "bytes": None}
    return {
        "local": True,
        "max_model_len": card.max_length or checkpoint.max_positions,
        "family": checkpoint.family,
        "bytes": sum(services.estimate(card, checkpoint).values()) or None,
    }
