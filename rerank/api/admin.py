"""Endpoints for operators: load, unload and pin models."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Literal

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from rerank.access.allowance import Allowance
from rerank.access.keyring import Keyring
from rerank.api.bodies import JsonRoute, TolerantBody
from rerank.api.errors import ERROR_RESPONSES
from rerank.api.models import MODEL_IN_PATH, ModelInfo, known_or_loaded, model_info
from rerank.api.origins import hostname, is_loopback
from rerank.api.services import ServicesDep, caller_of
from rerank.catalog.cards import ModelCard
from rerank.catalog.routes import members_of
from rerank.core import Caller
from rerank.errors import Forbidden, InvalidRequest, Unauthorized
from rerank.schemas import Schema


class PinBody(TolerantBody):
    """True keeps the model in memory."""

    pinned: bool = Field(default=True, description="false: it may be unloaded again when room is needed.")


class KeyInfo(Schema):
    """A key by its name, and what is left of its minute."""

    name: str
    admin: bool
    """True if it may load, unload and pin models."""
    models: list[str] | None
    """Models that it is for; null for all."""
    requests_per_minute: int | None
    """null without a limit."""
    requests_left: int | None
    tokens_per_minute: int | None
    """null without a limit."""
    tokens_left: int | None


class KeyList(Schema):
    """All keys."""

    object: Literal["list"] = "list"
    data: list[KeyInfo]


_PIN = PinBody()
_PROXY_HEADERS = frozenset({"forwarded", "via", "x-real-ip"})


async def require_operator(request: Request) -> None:
    """Let an operator through: one with an admin key, or, where no key at all is set, a client on this machine.

    Raises Unauthorized or Forbidden. It guards the endpoints themselves, so that no spelling of a path leads around it.
    """
    keyring: Keyring = request.app.state.keyring
    if keyring.keys.has_admins:
        if not caller_of(request).admin:
            raise Unauthorized("Unauthorized: send the admin key (RERANK_ADMIN_KEY) as `Authorization: Bearer <key>`.")
    elif keyring.guarded:
        # with keys there may be a proxy in front, behind which every client seems to be local
        raise Forbidden("Models are administered with an admin key, and RERANK_ADMIN_KEY is not set on this server.")
    elif not is_local(request):
        raise Forbidden(
            "Models are administered with an admin key, and RERANK_ADMIN_KEY is not set on this server; without it "
            "only clients on the server's own machine may."
        )


def is_local(request: Request) -> bool:
    """True for a program on this machine, but not for a local proxy or a web page.

    A page of any site can make a browser on this machine send a request: its ``Origin`` shows it, or a ``Host`` that
    only its own name server resolves to this machine.
    """
    if any(name in _PROXY_HEADERS or name.startswith("x-forwarded") for name in request.headers):
        return False
    host = request.headers.get("host", "")
    named = [hostname(host), hostname(request.headers.get("origin", host))]
    return all(map(is_loopback, [request.client.host if request.client else "", *named]))


router = APIRouter(
    route_class=JsonRoute,
    tags=["admin"],
    dependencies=[Depends(require_operator)],
    responses={status: ERROR_RESPONSES[status] for status in (401, 403, 404)},
)


@router.post(f"/v1/models/{MODEL_IN_PATH}/load", summary="Load a model", responses={503: ERROR_RESPONSES[503]})
async def load(model: str, request: Request, services: ServicesDep) -> ModelInfo:
    """Answers once it is in memory and warm, or with 503 after LOAD_TIMEOUT; the load goes on then."""
    card = await run_in_threadpool(services.gateway.find, model, caller_of(request))
    for each in services.gateway.first_choice(card):
        async with services.registry.lease(each, services.gateway.limits.load_timeout):
            pass
    return await model_info(services, card)


@router.post(f"/v1/models/{MODEL_IN_PATH}/unload", summary="Unload a model")
async def unload(model: str, request: Request, services: ServicesDep) -> ModelInfo:
    """Answers once its running work is done and it is out of memory; or after TIMEOUT, still draining. Pins do not keep
    it."""
    card = await _one(model, request, services)
    with suppress(TimeoutError):
        async with asyncio.timeout(services.gateway.limits.timeout):
            await services.registry.unload(card)
    return await model_info(services, card)


@router.post(f"/v1/models/{MODEL_IN_PATH}/pin", summary="Keep a model in memory, or no longer")
async def pin(
    model: str, request: Request, services: ServicesDep, body: PinBody = _PIN, pinned: bool | None = None
) -> ModelInfo:
    """A pinned model is unloaded neither for another nor for being idle. Pinning loads nothing, a restart forgets."""
    card = await _one(model, request, services)
    await services.registry.pin(card, pinned=body.pinned if pinned is None else pinned)
    return await model_info(services, card)


@router.get("/v1/keys", summary="The keys, and what is left of their minute")
async def keys(request: Request, services: ServicesDep) -> KeyList:
    """By name. The keys themselves are not kept."""
    callers = {caller.name: caller for caller in request.app.state.keyring.keys.callers.values()}
    return KeyList(data=[_key(caller, await services.gateway.rates.left(caller)) for caller in callers.values()])


def _key(caller: Caller, left: Allowance) -> KeyInfo:
    return KeyInfo(
        name=caller.name,
        admin=caller.admin,
        models=None if caller.models is None else list(caller.models),
        requests_per_minute=caller.requests_per_minute,
        requests_left=left.requests,
        tokens_per_minute=caller.tokens_per_minute,
        tokens_left=left.tokens,
    )


async def _one(model: str, request: Request, services: ServicesDep) -> ModelCard:
    """A model of its own. Raises InvalidRequest for one that is made of others."""
    card = await known_or_loaded(services, model, caller_of(request))
    if card.route:
        named = ", ".join(members_of(card.route))
        raise InvalidRequest(f"{card.id} is made of {named}: name one of these.", param="model")
    return card
