"""Which models there are: vLLM's cards, with what a server of many models has to add."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

from rerank.api.errors import ERROR_RESPONSES
from rerank.api.services import Running, Services
from rerank.catalog.cards import Family, ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.errors import WeightsBroken


class ModelPermission(BaseModel):
    """What OpenAI's clients expect a card to hold."""

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


class Download(BaseModel):
    """A download under way."""

    done: int
    """Bytes on disk."""
    total: int
    """Bytes in all."""


class ModelInfo(BaseModel):
    """One model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    root: str
    parent: str | None = None
    max_model_len: int | None
    """Tokens of a pair; null as long as nothing on disk says."""
    permission: list[ModelPermission]
    loaded: bool
    local: bool
    """True if the weights are on disk."""
    family: Family | None
    """How it scores; null as long as nothing on disk says."""
    device: str | None = None
    """Where it runs, names separated by commas; null as long as it is not in memory."""
    runtime: str | None = None
    """What runs it: library, precision, kernel; null as long as it is not in memory."""
    download: Download | None = None
    """How far its download is; null where none is under way."""


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelInfo]


router = APIRouter(tags=["models"], responses={status: ERROR_RESPONSES[status] for status in (401,)})


@router.get("/v1/models", summary="All models the server knows")
async def list_models(services: Running) -> ModelList:
    """The default model first, then those in memory, then those on disk, then the rest."""
    infos = await run_in_threadpool(lambda: [_info(services, card) for card in services.catalog.cards()])
    default = services.gateway.default.card.id
    infos.sort(key=lambda info: (info.id != default, not info.loaded, not info.local))
    return ModelList(data=infos)


@router.get("/v1/models/{model:path}", summary="One model", responses={404: ERROR_RESPONSES[404]})
async def get_model(model: str, services: Running) -> ModelInfo:
    """A model by id or by any name it answers to; ids may hold slashes."""
    return await run_in_threadpool(lambda: _info(services, services.catalog.resolve(model)))


def _info(services: Services, card: ModelCard) -> ModelInfo:
    loaded = {model.card.id: model for model in services.registry.loaded()}.get(card.id)
    on_disk = _on_disk(services, card)
    progress = services.downloads.of(card.id)
    if loaded:
        on_disk |= {
            "max_model_len": loaded.backend.max_length,
            "family": loaded.family,
            "device": loaded.device,
            "runtime": loaded.runtime,
        }
    return ModelInfo(
        id=card.id,
        created=services.started,
        owned_by=card.id.split("/")[0] if "/" in card.id else "local",
        root=card.repo or card.id,
        permission=[ModelPermission(id=f"modelperm-{card.basename}", created=services.started)],
        loaded=loaded is not None,
        download=Download(done=progress.done, total=progress.total) if progress else None,
        **on_disk,
    )


def _on_disk(services: Services, card: ModelCard) -> dict[str, Any]:
    folder = services.catalog.folder(card)
    unknown = {"local": False, "max_model_len": card.max_length, "family": card.family}
    if folder is None:
        return unknown
    try:
        checkpoint = read_checkpoint(folder)
    except WeightsBroken:
        return unknown
    return {
        "local": True,
        "max_model_len": card.max_length or checkpoint.max_positions,
        "family": card.family or checkpoint.family,
    }
