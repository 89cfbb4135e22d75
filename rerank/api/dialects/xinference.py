"""The first question of Xinference's client; its rerank request itself is Cohere's."""

from __future__ import annotations

from fastapi import APIRouter, Request

from rerank.api.dialects.dialect import Dialect
from rerank.api.routes import Route
from rerank.schemas import Schema


class Auth(Schema):
    """True if a key is needed."""

    auth: bool


AUTH_PATH = "/v1/cluster/auth"

router = APIRouter(route_class=Route, tags=["Xinference"])


@router.get(AUTH_PATH, summary="Whether a key is needed")
async def cluster_auth(request: Request) -> Auth:
    """Asked without a key: a client that hears no here never sends one."""
    return Auth(auth=request.app.state.keyring.guarded)


DIALECT = Dialect("Xinference", (router,), public_paths=frozenset({AUTH_PATH}))
