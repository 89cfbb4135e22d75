"""Who may use the server."""

from __future__ import annotations

from urllib.parse import parse_qs

from starlette.types import ASGIApp, Receive, Scope, Send

from rerank.access.keyring import Keyring
from rerank.api.dialects import xinference
from rerank.api.errors import error_response, shape_of
from rerank.core import Caller
from rerank.errors import Unauthorized

_STATUS_PATHS = ("/", "/health", "/ready", "/ping", "/version", "/load", "/docs", "/redoc", "/openapi.json")
_ASKED_BEFORE = ("/info", "/tei/info", "/tei/health", "/meta", "/.well-known/ready", "/.well-known/live")
PUBLIC_PATHS = frozenset({*_STATUS_PATHS, *_ASKED_BEFORE, xinference.AUTH_PATH})
"""What load balancers, status pages and readers of the documentation may see without a key; and what clients of TEI,
Weaviate and Xinference ask before they send one."""
_MISSING = "Unauthorized: send the API key as `Authorization: Bearer <key>`."
_WRONG = "Unauthorized: the API key is wrong."
_PUBLIC_FOLDERS = ("/static-offline-docs/", "/docs/")


class RequireKey:
    """Middleware that lets a request through to any path but the public ones only with one of the keys.

    Every path is guarded unless it is listed, so a new endpoint cannot be left open by forgetting it. Whose key it is
    goes into the request's state.
    """

    def __init__(self, app: ASGIApp, keyring: Keyring, open_paths: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._keyring = keyring
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        key = presented_key(scope)
        caller = self._keyring.caller_of(key)
        if caller or not self._keyring.guarded or self._is_open(scope):
            state["caller"] = caller or Caller()
            await self._app(scope, receive, send)
        else:
            state["facts"] = {"error": "wrong key" if key else "no key"}
            await error_response(Unauthorized(_WRONG if key else _MISSING), shape_of(scope))(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        public = path in PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDERS)
        return public or scope["method"] == "OPTIONS" or path in self._open_paths


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
