"""Normalised paths of requests."""

from __future__ import annotations

import re

from starlette.types import Scope

_SLASHES = re.compile("/{2,}")


def path_of(scope: Scope) -> str:
    """The path without the prefix of a proxy (``root_path``), doubled slashes and a slash at the end.

    Routing, the guard and the log all go by it: where two of them read a path differently, one of them can be misled.
    """
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    # as starlette takes the prefix off: only where a slash follows
    if root and path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        path = path[len(root) :]
    if "//" in path:
        path = _SLASHES.sub("/", path)
    return path.rstrip("/") or "/"


def settle_path(scope: Scope) -> None:
    """Route the request by its normalised path; a redirect to it would lose the body of a POST."""
    path = path_of(scope)
    scope["root_path"] = scope.get("root_path", "").rstrip("/")
    scope["path"] = scope["root_path"] + path
