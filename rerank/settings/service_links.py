"""Kubernetes' service links: variables named after services, which look like settings where a service is named rerank.

For a service `rerank-gateway` every pod of its namespace gets `RERANK_GATEWAY_SERVICE_HOST`,
`RERANK_GATEWAY_SERVICE_PORT`, `RERANK_GATEWAY_PORT=tcp://10.0.0.1:8000` and `RERANK_GATEWAY_PORT_8000_TCP_ADDR`; for a
service `rerank` the third is `RERANK_PORT`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address

_PORT_OF_SERVICE = re.compile(r"_SERVICE_PORT(?:_[A-Z0-9_]+)?$")
_PORT = re.compile(r"_PORT(?:_\d+_(?:TCP|UDP|SCTP))?$")
_PART_OF_PORT = re.compile(r"_PORT_\d+_(?:TCP|UDP|SCTP)_(?:PROTO|PORT|ADDR)$")
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://.+")


def without_service_links(environment: Mapping[str, str | None]) -> dict[str, str | None]:
    """The environment without service links."""
    hosts = {name.upper() for name, value in environment.items() if _is_host(name.upper(), value or "")}
    return {
        name: value
        for name, value in environment.items()
        if name.upper() not in hosts and not _is_port(name.upper(), value or "", hosts)
    }


def _is_host(name: str, value: str) -> bool:
    if not name.endswith("_SERVICE_HOST"):
        return False
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _is_port(name: str, value: str, hosts: set[str]) -> bool:
    if _PART_OF_PORT.search(name) or (_PORT.search(name) and _ADDRESS.fullmatch(value)):
        return True
    # the name alone could be a mistake in a setting's name
    service = _PORT_OF_SERVICE.search(name)
    return bool(service) and value.isdecimal() and f"{name[: service.start()]}_SERVICE_HOST" in hosts  # type: ignore[union-attr]
