"""Checks of a request's head, and the framing of its body. Pure."""

from __future__ import annotations

import re
from http import HTTPStatus

from rerank.server.chunked import Dechunker

MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 256
_MAX_LENGTH_DIGITS = 18
_METHOD = re.compile(rb"[A-Z-]{1,20}( |\Z)")
_VERSIONS = (b" HTTP/1.1\r", b" HTTP/1.0\r")
_UPGRADE = re.compile(rb"^upgrade:", re.IGNORECASE | re.MULTILINE)


class Refused(Exception):
    """A request that HTTP or a limit forbids."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def without_upgrade(head: bytes) -> bytes:
    """The head with its Upgrade header renamed, which declines it."""
    return _UPGRADE.sub(b"x-declined-upgrade:", head)


def is_plausible(head: bytes) -> bool:
    """False if this cannot be the beginning of a head: it is refused without waiting for its end."""
    line, whole, _ = head.partition(b"\n")
    return _METHOD.match(line) is not None and (not whole or line.endswith(_VERSIONS))


def framing(headers: list[tuple[bytes, bytes]]) -> tuple[Dechunker | None, int]:
    """The body's framing: a decoder of chunks, or its length. Raises Refused if the headers are ambiguous."""
    named: dict[bytes, list[bytes]] = {b"content-length": [], b"transfer-encoding": [], b"host": []}
    for name, value in headers:
        if name in named:
            named[name].append(value)
    lengths, codings = named[b"content-length"], named[b"transfer-encoding"]
    if any(len(values) > 1 for values in named.values()) or (lengths and codings):
        raise Refused(HTTPStatus.BAD_REQUEST)
    if codings:
        if codings[0].strip().lower() != b"chunked":
            raise Refused(HTTPStatus.BAD_REQUEST)
        return Dechunker(), 0
    length = lengths[0].strip() if lengths else b"0"
    if not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
        raise Refused(HTTPStatus.BAD_REQUEST)
    return None, int(length)
