"""Key check of every request."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from rerank.access.keyring import Keyring
from rerank.api.dialects.table import DIALECTS
from rerank.api.errors import error_renderer, error_response, record_of
from rerank.api.origins import OpenServer
from rerank.api.pages.router import FOLDER, PAGES
from rerank.api.paths import path_of
from rerank.core import Caller
from rerank.errors import RerankError, Unauthorized

_STATUS_PATHS = ("/", "/health", "/ready", "/ping", "/version", "/load", "/docs", "/redoc", "/openapi.json")
PUBLIC_PATHS = frozenset((*_STATUS_PATHS, *PAGES)).union(*(dialect.public_paths for dialect in DIALECTS))
"""Paths without a key: for load balancers, status pages, documentation, and clients that send no key yet."""
_MISSING = "Unauthorized: send the API key as `Authorization: Bearer <key>`."
_WRONG = "Unauthorized: the API key is wrong."
_SEVERAL = "Unauthorized: send one Authorization header, not several that differ."
_PUBLIC_FOLDERS = ("/static-offline-docs/", "/docs/", FOLDER)


class RequireKey:
    """Middleware that lets a request through to any path but the public ones only with one of the keys.

    Every path is guarded unless it is listed, so a new endpoint cannot be left open by forgetting it. Whose key it is
    goes into the request's state.
    """

    def __init__(
        self, app: ASGIApp, keyring: Keyring, open_server: OpenServer, open_paths: frozenset[str] = frozenset()
    ) -> None:
        """``open_server``: refusals of a server without keys."""
        self._app = app
        self._keyring = keyring
        self._open_server = open_server
        self._open_paths = open_paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = record_of(scope)
        try:
            caller = self._caller(scope)
        except RerankError as error:
            record.error = record.error or type(error).__name__
            await error_response(error, error_renderer(scope))(scope, receive, send)
            return
        scope["state"]["caller"] = caller
        record.key = caller.name
        await self._app(scope, receive, send)

    def _caller(self, scope: Scope) -> Caller:
        """The caller of a request. Raises Unauthorized or Forbidden."""
        key = presented_key(scope)
        if caller := self._keyring.caller_of(key):
            return caller
        if not self._keyring.guarded:
            if refusal := self._open_server.refusal(scope):
                raise refusal
        elif not self._is_open(scope):
            record_of(scope).error = "wrong key" if key else "no key"
            raise Unauthorized(_WRONG if key else _MISSING)
        return Caller()

    def _is_open(self, scope: Scope) -> bool:
        path = path_of(scope)
        public = path in PUBLIC_PATHS or path.startswith(_PUBLIC_FOLDERS)
        return public or scope["method"] == "OPTIONS" or path in self._open_paths


def presented_key(scope: Scope) -> str:
    """The key a request brings: `Authorization: Bearer key` in any case, the bare key, or `?access_token=key`.

    Raises Unauthorized for several that differ: what stands before the server may have looked at another.
    """
    given = list(dict.fromkeys(value for name, value in scope["headers"] if name == b"authorization"))
    if len(given) > 1:
        raise Unauthorized(_SEVERAL)
    scheme, _, rest = _decoded(given[0] if given else b"").strip().partition(" ")
    if key := rest.strip() if scheme.lower() == "bearer" else f"{scheme} {rest}".strip():
        return key
    query_string: bytes = scope.get("query_string", b"")
    if b"access_token" not in query_string:
        return ""
    return next((value for name, value in parse_qsl(query_string.decode("latin-1")) if name == "access_token"), "")


def _decoded(header: bytes) -> str:
    """Clients send a key that is not ASCII as UTF-8 or, as HTTP once said, as Latin-1."""
    try:
        return header.decode()
    except UnicodeDecodeError:
        return header.decode("latin-1")
