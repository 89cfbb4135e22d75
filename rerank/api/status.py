"""Status of the server, for people, load balancers and monitors. Public."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse, RedirectResponse

import rerank
from rerank.api.errors import ERROR_RESPONSES
from rerank.api.pages.router import wants_page
from rerank.api.routes import Route
from rerank.api.services import Services, ServicesDep, caller_of
from rerank.catalog.cards import ModelCard
from rerank.core import Caller
from rerank.registry.lifecycle import State
from rerank.schemas import Schema
from rerank.telemetry.metrics import METRICS_TYPE


class Status(Schema):
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


class Health(Schema):
    """The server is alive."""

    status: Literal["ok"] = "ok"


class Readiness(Schema):
    """Readiness, and what is missing."""

    ready: bool
    missing: list[str]
    """Reasons, one sentence each."""


class Version(Schema):
    """The server's version."""

    version: str


_OUT_OF_ORDER: dict[int | str, dict[str, Any]] = {
    503: {"description": "Nothing can be scored; says why", "content": {"text/plain": {}}}
}
_ERROR = {"$ref": "#/components/schemas/ErrorBody"}
_READY: dict[int | str, dict[str, Any]] = {
    503: {"model": Readiness},
    **{status: ERROR_RESPONSES[status] for status in (403, 404)},
}

router = APIRouter(route_class=Route, tags=["status"])
_HEALTH_ROUTES = (
    ("GET", "/health", "200 while the server is alive"),
    ("GET", "/ping", "The same, where SageMaker looks for it"),
    ("POST", "/ping", "The same, as vLLM takes it"),
)


def health_router(*, bare: bool) -> APIRouter:
    """Liveness of the server; ``bare`` as in vLLM, without a body."""
    router = APIRouter(route_class=Route, tags=["status"])
    for method, path, summary in _HEALTH_ROUTES:
        if bare:
            answer: dict[str, Any] = {"endpoint": _bare_health, "response_class": Response}
        else:
            answer = {"endpoint": _health, "response_model": Health}
        router.add_api_route(path, methods=[method], summary=summary, responses=_OUT_OF_ORDER, **answer)
    return router


async def _health(services: ServicesDep) -> Any:
    """503 with the reason once nothing can be scored, so that a supervisor restarts the server."""
    trouble = services.trouble()
    return PlainTextResponse(trouble, 503) if trouble else Health()


async def _bare_health(services: ServicesDep) -> Response:
    """503 with the reason once nothing can be scored, so that a supervisor restarts the server."""
    trouble = services.trouble()
    return PlainTextResponse(trouble, 503) if trouble else Response()


@router.get("/", summary="The server at a glance", response_model=Status)
async def root(request: Request, services: ServicesDep) -> Status | RedirectResponse:
    """Which model answers by default and why, what is in memory, what could be asked for.

    A key that is for some models sees only those. A browser is sent to the playground."""
    if request.app.state.pages and wants_page(request):
        return RedirectResponse("playground", 307, {"Vary": "Accept"})
    caller = caller_of(request)
    cards = await run_in_threadpool(services.catalog.cards)
    default = services.gateway.default_for(caller)
    loaded = [model for model in services.registry.loaded() if caller.may_use(model.card.id)]
    return Status(
        status="running",
        default_model=default.card.id,
        default_model_reason=default.reason,
        loaded_models=[model.card.id for model in loaded],
        supported_models=[card.id for card in cards if caller.may_use(card.id)],
        device=services.device,
        runtimes={model.card.id: f"{model.local.runtime} on {model.local.device}" for model in loaded if model.local},
        version=rerank.__version__,
    )


@router.get("/ready", summary="200 once requests need not wait", responses=_READY)
async def ready(request: Request, services: ServicesDep, response: Response, model: str | None = None) -> Readiness:
    """Ready: the default model and those to be loaded at start have been in memory and warm, even if one left since.
    Where they have not, asking begins to load them.

    With `?model=NAME`: that model is in memory now. This only looks."""
    caller = caller_of(request)
    card = None if model is None else await run_in_threadpool(services.gateway.find, model, caller)
    missing = _obstacles(services) or (_unloaded(services, caller) if card is None else _not_in_memory(services, card))
    response.status_code = 503 if missing else 200
    return Readiness(ready=not missing, missing=missing)


def _obstacles(services: Services) -> list[str]:
    """Reasons why no model is ready."""
    if services.gateway.admission.closed:
        return ["the server is shutting down"]
    trouble = services.trouble()
    return [trouble] if trouble else []


def _unloaded(services: Services, caller: Caller) -> list[str]:
    readiness, status = services.readiness, services.registry.status
    reasons = {card: readiness.failures.get(card.id) for card in readiness.load_missing()}
    return [
        f"{card.id} is {status(card).state}{f': {why}' if why else ''}"
        if caller.may_use(card.id)
        else "a model that the key is not for is not in memory"
        for card, why in reasons.items()
    ]


def _not_in_memory(services: Services, card: ModelCard) -> list[str]:
    state = services.registry.status(card).state
    return [] if state is State.READY else [f"{card.id} is {state}"]


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses={401: {"description": "No key, or a wrong one", "content": {"application/json": {"schema": _ERROR}}}},
)
async def metrics(request: Request) -> Response:
    """Needs the key where one is set, unless RERANK_OPEN_METRICS says otherwise. A key for some models sees what is
    counted of those and of itself."""
    exposition: bytes = request.app.state.metrics.exposition(caller_of(request))
    return Response(exposition, media_type=METRICS_TYPE)


@router.get("/version", summary="The server's version")
async def version() -> Version:
    """The version of this server, not of vLLM."""
    return Version(version=rerank.__version__)
