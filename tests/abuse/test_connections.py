"""What connections send, keep open and do not read: each within a limit of bytes and of time."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from rerank.server.connections import Connections, HttpLimits, default_maximum
from rerank.server.heads import MAX_HEADERS
from rerank.server.protocol import guarded
from rerank.telemetry.metrics import Metrics
from tests.abuse.conftest import StartServer
from tests.abuse.support import MEGABYTE, SECONDS, RawClient, measured
from tests.process.server import ServerProcess

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
GET = HEAD + b"\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = 8 * MEGABYTE


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body it got, `/large` with a large one, `/unread` before any body; `/stuck` never."""
    body, more = b"", scope["path"] != "/unread"
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    if scope["path"] == "/stuck":
        while (await receive())["type"] != "http.disconnect":
            pass
        return
    answer = bytes(LARGE) if scope["path"] == "/large" else body + b"\r\n"
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class Server:
    """uvicorn with the guarded protocol on a thread."""

    def __init__(self, limits: HttpLimits, most: int | None, keep_alive: int) -> None:
        self.metrics = Metrics()
        self._listening = socket.create_server(("127.0.0.1", 0))
        protocol = guarded(limits, Connections(most, self.metrics, look_every=0.05))
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, http=protocol, lifespan="off", timeout_keep_alive=keep_alive
            )
        )
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]})
        self._thread.start()
        self.client = RawClient("127.0.0.1", self._listening.getsockname()[1])

    def stop(self) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(SECONDS)
        self._listening.close()

    def closed(self, reason: str) -> float:
        """How many connections the metrics say were closed for it."""
        line = f'rerank_connections_closed_total{{reason="{reason}"}}'
        text = self.metrics.exposition().decode()
        return sum(float(found.split()[-1]) for found in text.splitlines() if found.startswith(line))


Serve = Callable[..., Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as servers:

        def start(*, head: float = SECONDS, read: float = SECONDS, most: int | None = None, idle: int = 30) -> Server:
            server = Server(HttpLimits(head, read), most, idle)
            servers.callback(server.stop)
            return server

        yield start


@pytest.fixture
def client(serve: Serve) -> RawClient:
    return serve().client


class TestBodies:
    def test_trailers_are_dropped(self, client: RawClient) -> None:
        message = CHUNKED + b"5\r\nhello\r\n0\r\nX-Trailer: 1\r\nAuthorization: Bearer x\r\n\r\n"
        exchange = client.exchange(message + POST + b"Connection: close\r\n\r\n")
        assert exchange.statuses == [200, 200]
        assert b"hello" in exchange.received

    @pytest.mark.parametrize("trailer", [b"x" * 100_000, b"X-A: b\r\n" * 100_000], ids=["one", "many"])
    def test_endless_trailers_are_refused(self, client: RawClient, trailer: bytes) -> None:
        exchange = client.exchange(CHUNKED + b"0\r\n" + trailer)
        assert (exchange.statuses, exchange.closed) == ([400], True)

    def test_an_endless_chunk_extension_is_refused(self, client: RawClient) -> None:
        exchange = client.exchange(CHUNKED + b"5;" + b"x" * 100_000)
        assert (exchange.statuses, exchange.closed) == ([400], True)

    def test_endless_tiny_chunks_are_refused(self, client: RawClient) -> None:
        exchange = client.exchange(CHUNKED + b"1\r\nx\r\n" * 50_000)
        assert (exchange.statuses, exchange.closed) == ([400], True)

    @pytest.mark.parametrize("offer", [b"h2c", b"websocket", b"h2c, websocket", b"TLS/1.0"])
    def test_an_offer_of_another_protocol_is_declined(self, client: RawClient, offer: bytes) -> None:
        head = POST + b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: " + offer + b"\r\n"
        exchange = client.exchange(head + b"HTTP2-Settings: AAMAAABk\r\nContent-Length: 4\r\n\r\nbody")
        assert exchange.statuses == [200]
        assert exchange.received.endswith(b"body\r\n")

    def test_a_body_that_nobody_reads_ends_the_connection(self, client: RawClient) -> None:
        with client.connect() as connection:
            connection.sendall(b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
            sent = 0
            with suppress(OSError):
                while sent < 500 * MEGABYTE:
                    sent += connection.send(bytes(MEGABYTE))
            assert sent < 100 * MEGABYTE


class TestHeads:
    @pytest.mark.parametrize(
        ("sent", "status"),
        [
            (b"GET /\r\n\r\n", 400),
            (b"GET /\r\n", 400),
            (b"GET / HTTP/0.9\r\n\r\n", 400),
            (b"GET / HTTP/2.0\r\n\r\n", 400),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
            (b"get / HTTP/1.1\r\n\r\n", 400),
            (b"\r\n" * 1000, 400),
            (b"\x00", 400),
            (b"GET / HTTP/1.1\nHost: x\n\n" + b"\r\n\r\n", 400),
            (HEAD + b"X-A: b\r\n c\r\n\r\n", 400),
            (HEAD + b"X A: b\r\n\r\n", 400),
            (HEAD + b"X-A : b\r\n\r\n", 400),
            (HEAD + b"X-A: \x00\r\n\r\n", 400),
            (HEAD + b"X-\xff: a\r\n\r\n", 400),
            (HEAD + b"Host: y\r\n\r\n", 400),
            (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
            (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", 400),
            (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400),
            (POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400),
            (POST + b"Content-Length: -1\r\n\r\n", 400),
            (POST + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n", 400),
            (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
            (POST + b"Transfer-Encoding: identity\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
            (HEAD + b"a: b\r\n" * MAX_HEADERS + b"\r\n", 431),
            (HEAD + b"X-Long: " + b"x" * 70_000 + b"\r\n\r\n", 431),
            (b"GET /" + b"x" * 70_000, 431),
        ],
    )
    def test_what_is_no_request_is_refused_at_once(self, client: RawClient, sent: bytes, status: int) -> None:
        exchange = client.exchange(sent)
        assert (exchange.statuses[-1], exchange.closed) == (status, True)

    def test_line_ends_between_requests_are_passed_over(self, client: RawClient) -> None:
        exchange = client.exchange(b"\r\n" + GET + b"\r\n\r\n" + HEAD + b"Connection: close\r\n\r\n")
        assert exchange.statuses == [200, 200]

    def test_a_head_may_come_byte_by_byte(self, client: RawClient) -> None:
        message = POST + b"Content-Length: 2\r\nConnection: close\r\n\r\nab"
        exchange = client.exchange(message[place : place + 1] for place in range(len(message)))
        assert exchange.statuses == [200]

    def test_many_requests_at_once_are_answered_in_order(self, client: RawClient) -> None:
        bodies = [b"number %d" % number for number in range(3000)]
        sent = b"".join(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies)
        exchange = client.exchange(sent + HEAD + b"Connection: close\r\n\r\n")
        assert len(sent) > 2 * 65_536
        assert exchange.statuses == [200] * 3001
        assert exchange.received.index(b"number 2998") < exchange.received.index(b"number 2999")


class TestTime:
    @pytest.mark.parametrize("stray", [b"", b"\r", b"\n", b"\r\n"])
    def test_an_idle_connection_is_closed_whatever_stray_byte_came(self, serve: Serve, stray: bytes) -> None:
        exchange = serve(idle=1).client.exchange(GET + stray)
        assert (exchange.statuses, exchange.closed) == ([200], True)

    def test_a_begun_second_head_has_a_time(self, serve: Serve) -> None:
        exchange = serve(head=0.2).client.exchange([GET, b"G"])
        assert (exchange.statuses, exchange.closed) == ([200, 408], True)

    def test_a_begun_head_is_not_kept_by_a_byte_now_and_then(self, serve: Serve) -> None:
        with serve(head=0.5).client.connect() as connection:
            connection.settimeout(0.1)
            connection.sendall(HEAD + b"X-A: ")
            answer = b""
            for _ in range(200):
                with suppress(TimeoutError):
                    answer += connection.recv(1000)
                    break
                connection.sendall(b"x")
        assert answer.startswith(b"HTTP/1.1 408 ")

    def test_an_answer_that_nobody_reads_is_given_up(self, serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
        server = serve(read=0.5)
        with server.client.connect() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            waited = threading.Event()
            for _ in range(300):
                if server.closed("answer not read"):
                    break
                waited.wait(0.1)
        assert server.closed("answer not read") == 1
        assert "has not read its answer" in caplog.text

    def test_an_answer_that_is_read_slowly_arrives_whole(self, serve: Serve) -> None:
        server = serve(read=3.0)
        with server.client.connect() as connection:
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            received, pause = 0, threading.Event()
            while part := connection.recv(400_000):
                received += len(part)
                pause.wait(0.02)
        assert received > LARGE


class TestNumber:
    def test_connections_beyond_the_limit_are_answered_503(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        server = serve(most=4)
        with ExitStack() as open_connections:
            for _ in range(3):
                connection = open_connections.enter_context(server.client.connect())
                connection.sendall(GET)
                assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            # one address has three quarters
            assert server.client.exchange(GET).statuses == [503]
            assert server.client.exchange(GET).statuses == [503]
        assert caplog.text.count("RERANK_MAX_CONNECTIONS") == 1
        for _ in range(200):
            if server.client.exchange(HEAD + b"Connection: close\r\n\r\n").statuses == [200]:
                break
        else:
            pytest.fail("no room after the others have left")

    def test_the_default_leaves_descriptors_for_files(self) -> None:
        assert 1 <= default_maximum() <= 2048

    def test_running_out_of_descriptors_is_said_once_a_minute(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def no_descriptor(_: int) -> int:
            raise OSError(24, "Too many open files")

        connections = Connections(10, Metrics())
        monkeypatch.setattr(os, "dup", no_descriptor)
        loop = asyncio.new_event_loop()
        with caplog.at_level(logging.WARNING):
            connections._look(loop)
            connections._look(loop)
        loop.close()
        assert caplog.text.count("out of file descriptors") == 1


def test_trailers_take_no_memory(start_server: StartServer) -> None:
    server = start_server(RERANK_API_KEY="sk-of-the-test")
    client = RawClient.of(server.url)
    lines = b"".join(b"x-%d: %s\r\n" % (number, b"a" * 90) for number in range(10_000))
    head = b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    with measured(server.pid) as cost:
        client.exchange([head, *[lines] * 60])
    assert cost.peak < 30 * MEGABYTE
    assert client.is_served()


def test_stray_bytes_keep_no_connection_of_a_real_server(start_server: StartServer) -> None:
    server = start_server(RERANK_HTTP_KEEP_ALIVE="1", RERANK_RECEIVE_TIMEOUT="1")
    client = RawClient.of(server.url)
    with ExitStack() as open_connections:
        connections = [open_connections.enter_context(client.connect()) for _ in range(200)]
        for connection in connections:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n")
        for connection in connections:
            while connection.recv(1000):
                pass
    assert client.is_served()


def test_uvicorns_own_command_has_the_same_limits(tmp_path: Path, tiny_models: Path) -> None:
    command = ("-m", "uvicorn", "rerank_server:app", "--port", "0", "--root-path", "/docs")
    settings = {"RERANK_MODELS_DIR": str(tiny_models), "RERANK_API_KEY": "sk-of-the-test"}
    with ServerProcess(tmp_path, settings, command) as server:
        client = RawClient.of(server.url)
        assert client.exchange(CHUNKED + b"0\r\n" + b"X-A: b\r\n" * 100_000).closed
        assert client.exchange(HEAD + b"a: b\r\n" * MAX_HEADERS + b"\r\n").statuses == [431]
        # behind a prefix that is a public folder
        guarded_path = b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert client.exchange(guarded_path).statuses == [401]
        assert client.is_served()
