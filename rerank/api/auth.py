"""Who may use the server."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from rerank.api.dialects import xinference
from rerank.api.errors import error_response, shape_of
from rerank.errors import Unauthorized

_STATUS_PATHS = ("/", "/health", "/ready", "/ping", "/version", "/load", "/docs", "/redoc", "/openapi.json")
_ASKED_BEFORE = ("/info", "/tei/info", "/tei/health", "/meta", "/.well-known/ready", "/.well-known/live")
PUBLIC_PATHS = frozenset({*_STATUS_PATHS, *_ASKED_BEFORE, xinference.AUTH_PATH})
"""What load balancers, status pages and readers of the documentation may see without a key; and what clients of TEI,
Weaviate and Xinference ask before they send one."""
_PUBLIC_FOLDERS = ("/static-offline-docs/", "/docs/")


class RequireKey:
    """Middleware that lets a request through to any path but the public ones only with one of the keys.

    Every path is guarded unless it is listed, so a new endpoint cannot be left open by forgetting it.
    """

    def __init__(self, app: ASGIApp, keys: Sequence[str], open_paths: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._keys = tuple(keys)
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http" or self._may_pass(scope):
            await self._app(scope, receive, send)
        else:
            scope.setdefault("state", {})["facts"] = {"error": "wrong key" if presented_key(scope) else "no key"}
            await error_response(Unauthorized(self._advice(scope)), shape_of(scope))(scope, receive, send)

    def _may_pass(self, scope: Scope) -> bool:
        path = scope["path"]
        if not self._keys or scope["method"] == "OPTIONS" or is_public(path) or path in self._open_paths:
            return True
        return is_one_of(presented_key(scope), self._keys)

    @staticmethod
    def _advice(scope: Scope) -> str:
        if presented_key(scope):
            return "Unauthorized: the API key is wrong."
        return "Unauthorized: send the API key as `Authorization: Bearer <key>`."


def is_public(path: str) -> bool:
    """True if the path needs no key."""
    return path in PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDERS)


def is_one_of(given: str, keys: Sequence[str]) -> bool:
    """True if the key is one of these. Every one is compared, so the time taken tells nothing."""
    presented = given.encode("utf-8", "surrogateescape")
    return sum(hmac.compare_digest(presented, key.encode()) for key in keys) > 0


def presented_key(scope: Scope) -> str:
    """The key a request brings: `Authorization: Bearer key` in any case, the bare key, or `?access_token=key`."""
    raw = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    scheme, _, rest = _decoded(raw).strip().partition(" ")
    if key := rest.strip() if scheme.lower() == "bearer" else f"{scheme} {rest}".strip():
        return key
    query_string: bytes = scope.get("query_string", b"")
    return parse_qs(query_string.decode("latin-1")).get("access_token", [""])[0]


def _decoded(header: bytes) -> str:
    """Clients send a key that is not ASCII as UTF-8 or, as HTTP once said, as Latin-1."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1")
