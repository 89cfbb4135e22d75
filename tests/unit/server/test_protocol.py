from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from rerank.server.connections import Connections, HttpLimits
from rerank.server.heads import MAX_HEAD_BYTES
from rerank.server.protocol import guarded
from rerank.telemetry.metrics import Metrics

WAIT = 10.0
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


async def app(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    listening = socket.create_server(("127.0.0.1", 0))
    protocol = guarded(HttpLimits(head=0.3), Connections(None, Metrics(), look_every=0.05))
    config = uvicorn.Config(app, log_config=None, access_log=False, http=protocol, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    with socket.create_connection(listening.getsockname(), timeout=WAIT) as connection:
        yield connection
    server.should_exit = True
    thread.join(WAIT)
    listening.close()


def everything(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_head_that_does_not_come_is_408(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    answer = everything(connection)
    assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close" in answer


def test_a_head_without_end_is_431(connection: socket.socket) -> None:
    # no more than it takes: bytes that the server has not read when it closes would take its answer away
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ".ljust(MAX_HEAD_BYTES + 1, b"x"))
    assert everything(connection).startswith(b"HTTP/1.1 431 ")


def test_requests_in_time_are_answered_one_after_another(connection: socket.socket) -> None:
    for _ in range(3):
        connection.sendall(REQUEST)
        assert connection.recv(65536).endswith(b"ok")


def test_the_second_head_of_a_connection_has_its_time_too(connection: socket.socket) -> None:
    connection.sendall(REQUEST)
    assert connection.recv(65536).endswith(b"ok")
    connection.sendall(REQUEST[:10])
    assert everything(connection).startswith(b"HTTP/1.1 408 ")
