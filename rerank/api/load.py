"""Load of the server, for load balancers and autoscalers."""

from __future__ import annotations

from fastapi import APIRouter, Request

from rerank.api.routes import Route
from rerank.api.services import Services, ServicesDep, caller_of
from rerank.core import Caller
from rerank.gateway.load import ModelLoad
from rerank.schemas import Schema


class Load(Schema):
    """Requests in flight, as in vLLM."""

    server_load: int


class LoadOfModel(Schema):
    """Load of one model."""

    state: str
    """absent, loading, ready or draining."""
    in_memory: bool
    """True if a request need not wait for it."""
    tokens: int
    """Estimated tokens of its requests, running and waiting."""
    backlog_seconds: float
    """Expected seconds until its requests are answered: until it is in memory, and for their tokens."""
    load_seconds: float | None
    """Duration of its last load; null if it was not in memory since the start."""
    bytes: int | None
    """Memory it takes or took, or an estimate during its first load; null if it is not known."""
    idle_seconds: float | None
    """Since its last request; 0 while there is one, null unless it is in memory."""
    pinned: bool


class FullLoad(Load):
    """Requests in flight, and how long they will take."""

    backlog_seconds: float
    """Expected seconds for the tokens of all requests, without the loads of models."""
    tokens: int
    """Estimated tokens of all requests."""
    tokens_per_second: float | None
    """Measured rate; null before the first few requests."""
    free_bytes: int | None
    """What the models leave of the memory budget, on the device with the least; null without a budget."""
    budget_bytes: int | None
    """The memory budget, on the device with the least; null without one."""
    draining: bool
    """True once no further request is admitted."""
    models: dict[str, LoadOfModel]
    """By id: every model that is or was in memory, is loading, or has requests."""


_SUMMARY = "Requests in flight, and how long they will take"


def load_router(*, bare: bool) -> APIRouter:
    """Load of the server; ``bare`` as in vLLM, the number of requests alone."""
    router = APIRouter(route_class=Route, tags=["status"])
    if bare:
        router.get("/load", summary="Requests in flight", response_model=Load)(_bare_load)
    else:
        router.get("/load", summary=_SUMMARY, response_model=FullLoad | Load)(_load)
    return router


async def _bare_load(services: ServicesDep) -> Load:
    """For load balancers that send to the least busy server."""
    return Load(server_load=services.gateway.admission.requests)


async def _load(request: Request, services: ServicesDep) -> Load:
    """For load balancers that send to the least busy server. Cheap enough to be read each second.

    `server_load` needs no key, as in vLLM. The rest needs one where /metrics does, and a key for some models sees only
    those."""
    caller = caller_of(request)
    return _full(services, caller) if _may_see_all(request, caller) else await _bare_load(services)


def _may_see_all(request: Request, caller: Caller) -> bool:
    state = request.app.state
    return bool(caller.name) or not state.keyring.guarded or state.open_metrics


def _full(services: Services, caller: Caller) -> FullLoad:
    load = services.gateway.load()
    return FullLoad(
        server_load=load.requests,
        backlog_seconds=round(load.backlog_seconds, 3),
        tokens=load.tokens,
        tokens_per_second=_rounded(load.tokens_per_second),
        free_bytes=load.free_bytes,
        budget_bytes=load.budget_bytes,
        draining=load.draining,
        models={name: _of_model(model) for name, model in load.models.items() if caller.may_use(name)},
    )


def _of_model(model: ModelLoad) -> LoadOfModel:
    return LoadOfModel(
        state=model.state,
        in_memory=model.in_memory,
        tokens=model.tokens,
        backlog_seconds=round(model.backlog_seconds, 3),
        load_seconds=_rounded(model.load_seconds),
        bytes=model.bytes,
        idle_seconds=_rounded(model.idle_seconds),
        pinned=model.pinned,
    )


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
