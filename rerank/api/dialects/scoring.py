"""What every dialect does between its request and its answer."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json

from rerank.api.bodies import JsonRoute
from rerank.api.errors import ERROR_RESPONSES
from rerank.api.services import Services, caller_of, unless_client_leaves
from rerank.core import ScoringRequest, ScoringResult
from rerank.errors import InvalidRequest

TIMEOUT_HEADER = "X-Request-Timeout"
"""Seconds after which the caller no longer waits."""


def answers(**examples: Any) -> dict[int | str, dict[str, Any]]:
    """The documentation of a successful answer: an example for each dialect that is spoken at an address."""
    named = {name: {"value": example} for name, example in examples.items()}
    return {200: {"content": {"application/json": {"examples": named}}}}


def dialect_router(tag: str, **examples: Any) -> APIRouter:
    """Endpoints that take JSON and say errors in the common shape, with an example of their answer."""
    return APIRouter(
        route_class=JsonRoute,
        tags=[tag],
        responses=ERROR_RESPONSES | answers(**examples),
        dependencies=[Depends(require_json)],
    )


async def require_json(request: Request) -> None:
    """Refuse a body that does not say it is JSON, with words that help; an absent header passes for JSON."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise InvalidRequest("Unsupported Media Type: send the body with the header Content-Type: application/json")


async def score(request: Request, services: Services, wanted: ScoringRequest) -> ScoringResult:
    """Score what the request wants, unless its client leaves. Raises a RerankError."""
    caller = caller_of(request)
    request.state.facts = {"documents": len(wanted.pairs)} | ({"key": caller.name} if caller.name else {})
    services.log_request(wanted)
    wanted = replace(wanted, within=_deadline(request), caller=caller)
    result = await unless_client_leaves(request, services.gateway.score(wanted))
    request.state.facts |= {"model": result.model, "tokens": result.tokens}
    return result


def _deadline(request: Request) -> float | None:
    given = request.headers.get(TIMEOUT_HEADER)
    if given is None:
        return None
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise InvalidRequest(f"{TIMEOUT_HEADER} must be a number of seconds above 0", param=TIMEOUT_HEADER)
    return seconds


def json_answer(answer: Any) -> Response:
    """An answer as JSON. Whole floats keep their point (``1.0``): some clients read ``1`` as another type."""
    return Response(to_json(answer), media_type="application/json")
