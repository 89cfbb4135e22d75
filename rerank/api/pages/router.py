"""The playground, the administration and their files. Public: they hold no data, and the API asks for the key."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, RedirectResponse, Response

from rerank.api.paths import path_of

PAGES = ("/playground", "/admin")
FOLDER = "/pages/"
_FILES = Path(__file__).with_name("files")
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Everything from this server, and nothing inline but the icons of the style sheet."""

router = APIRouter(include_in_schema=False, tags=["pages"])


def wants_page(request: Request) -> bool:
    """True for a browser that opens an address, and not for a program."""
    return "text/html" in request.headers.get("accept", "")


@router.get("/playground")
@router.get("/admin")
async def page(request: Request) -> Response:
    """Rankings of one to three models side by side; or models, upstreams, keys and load, for operators."""
    if (request.scope.get("raw_path") or b"").endswith(b"/"):
        # its files are named relative to the address
        return RedirectResponse(f"..{path_of(request.scope)}", 307)
    headers = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
    return FileResponse(_FILES / "page.html", media_type="text/html", headers=headers)


@router.get(FOLDER + "{name:path}")
async def file(name: str) -> Response:
    """A style sheet or a script."""
    path = _FILES / name
    if name not in _NAMES:
        raise HTTPException(404)
    return FileResponse(path, media_type=_TYPES[path.suffix], headers={"Cache-Control": "no-cache"})


_NAMES = frozenset(path.relative_to(_FILES).as_posix() for path in _FILES.rglob("*") if path.suffix in _TYPES)
