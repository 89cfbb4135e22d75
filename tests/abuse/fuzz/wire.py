"""Bytes that are nearly HTTP, sent in nearly every way."""

from __future__ import annotations

import json
import socket
import struct
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from hypothesis import strategies as st

from tests.abuse.fuzz.judge import Note, Objection, fuzz, judge, shown
from tests.abuse.fuzz.strategies import BODY, HEADERS, PATHS
from tests.abuse.fuzz.target import KEY, Target
from tests.abuse.support import SECONDS, Exchange, post_bytes

_CONTENT = json.dumps(BODY).encode()
_KEY = f"Authorization: Bearer {KEY}"
_AT_ONCE_OPEN = 30
"""Connections left in the middle of a request."""
_SILENCE = 0.1
"""Seconds after which no more is expected of a server that has not closed the connection."""
_RESET = struct.pack("ii", 1, 0)


def _chunked(*chunks: bytes, behind: bytes = b"0\r\n\r\n", headers: str = "") -> bytes:
    head = f"POST /v1/rerank HTTP/1.1\r\nHost: 127.0.0.1\r\n{_KEY}\r\nTransfer-Encoding: chunked\r\n{headers}\r\n"
    return head.encode() + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + behind


_GET = f"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n{_KEY}\r\n\r\n".encode()
_POST = post_bytes("/v1/rerank", _CONTENT, _KEY)
_KEPT = _POST.replace(b"Connection: close\r\n", b"")
_SEEDS = (
    _GET,
    _POST,
    _KEPT * 3 + _GET,
    _chunked(_CONTENT[:10], _CONTENT[10:]),
    _chunked(_CONTENT, behind=b"0\r\nX-Trailer: 1\r\nContent-Length: 5\r\n\r\n", headers="Trailer: X-Trailer\r\n"),
    _chunked(*(bytes((byte,)) for byte in _CONTENT)) + _GET,
    *(
        post_bytes("/v1/rerank", _CONTENT, _KEY, *lines)
        for lines in (
            ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"),
            ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x"),
            ("Expect: 100-continue",),
            ("Content-Length: 5",),
            ("Transfer-Encoding: chunked",),
            ("Content-Encoding: gzip",),
        )
    ),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"CONNECT x:443 HTTP/1.1\r\nHost: 127.0.0.1:443\r\n\r\n",
    b"TRACE / HTTP/1.0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
)
_PIECES = st.binary(max_size=12) | st.sampled_from(
    (
        *(b"\r\n", b"\n", b"\r", b"\x00", b" ", b":", b"\r\n ", b"\r\n\r\n", b"\xff", b"%", b"-1", b"?", b"#"),
        *(b"0\r\n\r\n", b"5;a=b\r\n", b"ffffffffffffffff\r\n", b"HTTP/1.1", b"HTTP/0.9", b"../", b"http://y/"),
        *(b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Content-Length: +5\r\n"),
        *(b"Content-Length: 99999999999999999999\r\n", b"Host: y\r\n"),
        *(b"X: " + b"y" * 9000 + b"\r\n", b"X: y\r\n" * 300, b"/" * 2000),
    )
)
_ENDS = ("half", "half", "half", "reset", "stay")


class Sending(NamedTuple):
    """Bytes, and how they are sent."""

    content: bytes
    parts: int
    """In so many pieces."""
    ends: str
    """What comes after the last one: half (says that no more will come), reset, or stay (finished much later)."""


@st.composite
def _changed(draw: st.DrawFn) -> Sending:
    content = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(content)))
        match draw(st.integers(0, 3)):
            case 0:
                content[place:place] = draw(_PIECES)
            case 1:
                content[place : place + draw(st.integers(1, 20))] = draw(st.binary(max_size=4))
            case 2:
                content[place:place] = content[place : place + draw(st.integers(1, 200))]
            case _:
                del content[draw(st.integers(place, len(content))) :]
    return Sending(bytes(content), draw(st.integers(1, 3)), draw(st.sampled_from(_ENDS)))


@st.composite
def _headed(draw: st.DrawFn) -> Sending:
    lines = [f"{name}: {value}" for name, value in draw(HEADERS)]
    key = draw(st.sampled_from(((_KEY,), ())))
    return Sending(post_bytes(draw(st.sampled_from(PATHS)), _CONTENT, *key, *lines), 1, "half")


def wire(target: Target, seed: int, cases: int, note: Note) -> None:
    """Requests with bytes changed, doubled and missing, in pieces, left in the middle."""
    _send_all(target, _changed(), seed, cases, note)


def headers(target: Target, seed: int, cases: int, note: Note) -> None:
    """Headers of any kind before a plain body."""
    _send_all(target, _headed(), seed, cases, note)


def _send_all(target: Target, wanted: st.SearchStrategy[Sending], seed: int, cases: int, note: Note) -> None:
    left: deque[socket.socket] = deque()

    def send(sending: Sending) -> None:
        if sending.ends == "stay":
            left.append(_begin(target, sending))
            note()
        elif sending.ends == "reset":
            _reset(_begin(target, sending))
            note()
        else:
            exchange = target.raw.exchange(_parts(sending), leave_after=_SILENCE)
            note(*exchange.statuses)
            _judge(exchange, sending)
        if len(left) > _AT_ONCE_OPEN:
            _end(left.popleft())

    try:
        fuzz(wanted, send, seed, cases)
    finally:
        for connection in left:
            connection.close()


def _judge(exchange: Exchange, sending: Sending) -> None:
    if not exchange.closed:
        raise Objection(f"the connection stays open for {SECONDS:g} s after its end: {shown(tuple(sending))}")
    for status in exchange.statuses:
        judge(status, exchange.received, tuple(sending))


def _parts(sending: Sending) -> list[bytes]:
    size = len(sending.content) // sending.parts + 1
    return [sending.content[place : place + size] for place in range(0, len(sending.content), size)]


def _begin(target: Target, sending: Sending) -> socket.socket:
    connection = target.raw.connect()
    with suppress(OSError):
        connection.sendall(sending.content[: -(len(sending.content) // 3) or None])
    return connection


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


def _end(connection: socket.socket) -> None:
    # it may have been closed for its slowness meanwhile
    with connection, suppress(OSError):
        connection.sendall(b"\r\n\r\n")
