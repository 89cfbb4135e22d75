"""Web pages and host names that may use a server without keys."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from rerank.errors import Forbidden

ANY = "*"
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_LOCAL_NAMES = frozenset({"localhost", "host.docker.internal", "gateway.docker.internal", "host.containers.internal"})
"""Names of this machine, as its own programs and containers on it call it."""
_SHOWN = 100


@lru_cache(maxsize=256)
def hostname(address: str) -> str:
    """The host of an address or of a Host header, in small letters; empty if there is none."""
    try:
        return urlsplit(address if "//" in address else f"//{address}").hostname or ""
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """True for a name or an address by which a machine reaches itself."""
    if host == "localhost":
        return True
    address = _ip(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return address is not None and (mapped or address).is_loopback


class Origins:
    """Origins of pages that may use the server, however they are spelled."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._any = ANY in allowed
        self._allowed = frozenset(map(_normal, allowed))

    def allow(self, origin: str) -> bool:
        """True if the page is listed."""
        return self._any or _normal(origin) in self._allowed


class OpenServer:
    """Refusals of a server without keys: requests of pages of other sites, unless they are listed.

    The ``Origin`` shows the page. After DNS rebinding ``Origin`` and ``Host`` are equal, but they are no name of this
    machine.
    """

    def __init__(self, origins: Origins, hosts: Collection[str] = ()) -> None:
        """``hosts``: further names of the server. Where some are given no other name counts; else any does, except for
        connections from the machine itself."""
        self._origins = origins
        self._any_host = ANY in hosts
        self._hosts = frozenset(map(hostname, hosts)) - {""}
        self._own = _LOCAL_NAMES | self._hosts | {socket.gethostname().lower()}

    def refusal(self, scope: Scope) -> Forbidden | None:
        """The error for a refused request; None if it is allowed."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in (b"host", b"origin")}
        host, origin = headers.get(b"host", ""), headers.get(b"origin")
        if origin is not None and not (_is_of(origin, host) or self._origins.allow(origin)):
            return Forbidden(
                f"Pages of {origin[:_SHOWN]!a} may not use this server. List the origin in RERANK_CORS_ORIGINS, or set "
                "RERANK_API_KEY."
            )
        if host and not self._knows(hostname(host), scope.get("server")):
            return Forbidden(
                f"This server is not called {host[:_SHOWN]!a}. List the name in RERANK_ALLOWED_HOSTS, or set "
                "RERANK_API_KEY."
            )
        return None

    def _knows(self, host: str, server: tuple[str, int | None] | None) -> bool:
        if self._any_host or host in self._own or host.endswith(".localhost") or _ip(host):
            return True
        return not self._hosts and not (server and is_loopback(server[0]))


class Cors(CORSMiddleware):
    """CORS for listed pages, which may send any header: what SDKs add to theirs changes with each release."""

    def __init__(self, app: ASGIApp, origins: Collection[str]) -> None:
        super().__init__(
            app,
            allow_origins=list(origins),
            allow_methods=["GET", "POST"],
            allow_headers=[ANY],
            expose_headers=["X-Request-Id", "Retry-After"],
            # a listed page may be in the internet and the server in a private network
            allow_private_network=True,
        )
        self._origins = Origins(origins)

    def is_allowed_origin(self, origin: str) -> bool:
        """See starlette."""
        return self._origins.allow(origin)


def _normal(origin: str) -> str:
    """As browsers write it: small letters, no slash at the end, no default port."""
    origin = origin.strip().lower().rstrip("/")
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], "\0"))


def _is_of(origin: str, host: str) -> bool:
    """True if a page is the server's own; TLS may end before it, so its scheme says nothing."""
    scheme, _, place = _normal(origin).partition("://")
    return place != "" and place == host.strip().lower().removesuffix(_DEFAULT_PORTS.get(scheme, "\0"))


@lru_cache(maxsize=256)
def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
