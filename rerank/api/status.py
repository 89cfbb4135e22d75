"""How the server is: for people, load balancers and monitors. No key needed."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel

import rerank
from rerank.api.services import Running


class Status(BaseModel):
    """The server at a glance."""

    status: str
    default_model: str
    default_model_reason: str
    loaded_models: list[str]
    supported_models: list[str]
    device: str
    """Each device that scores, and its precision."""
    runtimes: dict[str, str]
    """For each model in memory: where and with what it runs."""
    version: str


class Version(BaseModel):
    """The server's version."""

    version: str


class Load(BaseModel):
    """Requests in work."""

    server_load: int


router = APIRouter(tags=["status"])


@router.get("/", summary="The server at a glance")
async def root(services: Running) -> Status:
    """Which model answers by default and why, what is in memory, what could be asked for."""
    cards = await run_in_threadpool(services.catalog.cards)
    return Status(
        status="ok",
        default_model=services.gateway.default.card.id,
        default_model_reason=services.gateway.default.reason,
        loaded_models=[model.card.id for model in services.registry.loaded()],
        supported_models=[card.id for card in cards],
        device=services.device,
        runtimes={model.card.id: f"{model.runtime} on {model.device}" for model in services.registry.loaded()},
        version=rerank.__version__,
    )


@router.get("/health", summary="200 while the server is alive", response_class=Response)
@router.get("/ping", summary="The same, where SageMaker looks for it", response_class=Response)
async def health(services: Running) -> Response:
    """Empty, as vLLM's; 503 once the thread that scores has died, so that whoever watches restarts the server."""
    return Response(status_code=200 if services.is_alive() else 503)


@router.get("/version", summary="The server's version")
async def version() -> Version:
    """The version of this server, not of vLLM."""
    return Version(version=rerank.__version__)


@router.get("/load", summary="Requests in work")
async def load(services: Running) -> Load:
    """For load balancers that send to the least busy server."""
    return Load(server_load=services.gateway.admission.requests)
