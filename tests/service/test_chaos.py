"""Whatever comes over the wire, the server answers with no 5xx, hangs nowhere, and serves the next caller."""

from __future__ import annotations

import gzip
import json
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rerank.server.connections import Connections, HttpLimits
from rerank.server.protocol import guarded
from rerank.telemetry.metrics import Metrics
from tests.abuse.fuzz.strategies import BODY, FIELDS, HEADERS, JSON, PATHS
from tests.conftest import FUZZED, RecordProperty
from tests.support.app import PATIENCE, AppUnderTest, LiveServer, request_bytes


class Peer:
    """A client that sends bytes as it likes, and counts."""

    def __init__(self, server: LiveServer) -> None:
        self._server = server
        self.connect = server.connect
        self.cases = 0

    def send(self, content: bytes, *, leave: bool) -> bytes:
        """Send, and read what comes until the server closes; with ``leave`` say at once that no more will come."""
        self.cases += 1
        with self.connect() as connection:
            try:
                connection.sendall(content)
                if leave:
                    connection.shutdown(socket.SHUT_WR)
                return b"".join(iter(lambda: connection.recv(65536), b""))
            except OSError:
                # the server may close before it has read everything
                return b""

    def statuses(self, content: bytes, *, leave: bool = False) -> list[int]:
        """Statuses of the answers to these bytes; the last request asks for the connection to be closed."""
        answer = self.send(content, leave=leave)
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]

    def is_served(self) -> bool:
        """Whether a plain request is answered."""
        return self._server.post("/v1/rerank", BODY)[0] == 200


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    app = AppUnderTest(tmp_path_factory.mktemp("models"))
    with LiveServer(app.asgi, guarded(HttpLimits(), Connections(None, Metrics()))) as server:
        peer = Peer(server)
        yield peer
        assert peer.is_served()
    app.release()


def post(path: str, content: bytes, *headers: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Length: {len(content)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


FUZZ = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@FUZZ
@given(path=st.sampled_from(PATHS), fields=st.dictionaries(FIELDS, JSON, max_size=5))
def test_fields_of_any_kind(peer: Peer, path: str, fields: dict[str, object]) -> None:
    content = json.dumps(BODY | fields).encode()
    (status,) = peer.statuses(post(path, content, "Content-Type: application/json"))
    assert status < 500, (path, fields)


@FUZZ
@given(path=st.sampled_from(PATHS), content=st.binary(max_size=200))
def test_bodies_of_any_bytes(peer: Peer, path: str, content: bytes) -> None:
    (status,) = peer.statuses(post(path, content, "Content-Type: application/json"))
    assert 400 <= status < 500, (path, content)


@FUZZ
@given(data=st.data())
def test_requests_with_bytes_changed_or_missing(peer: Peer, data: st.DataObject) -> None:
    whole = bytearray(post("/v1/rerank", json.dumps(BODY).encode(), "Content-Type: application/json"))
    for _ in range(data.draw(st.integers(0, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    sent = bytes(whole[: data.draw(st.integers(1, len(whole)))])
    assert all(status < 500 for status in peer.statuses(sent, leave=True)), sent


@FUZZ
@given(headers=HEADERS)
def test_headers_of_any_kind(peer: Peer, headers: list[tuple[str, str]]) -> None:
    sent = post("/v1/rerank", json.dumps(BODY).encode(), *(f"{name}: {value}" for name, value in headers))
    assert all(status < 500 for status in peer.statuses(sent, leave=True)), headers


HURTING = {
    "an integer of five thousand digits": (b'{"query": "a", "documents": ["a"], "top_n": 1' + b"0" * 5000 + b"}", 400),
    "a float beyond all floats": (b'{"query": "a", "documents": ["a"], "top_n": 1e999}', 400),
    "one below them": (b'{"query": "a", "documents": ["a"], "top_n": -1e999}', 400),
    "not a number": (b'{"query": NaN, "documents": ["a"]}', 400),
    "no UTF-8": (b'{"query": "\xff\xfe", "documents": ["a"]}', 400),
    "half a character": (b'{"query": "\\ud800", "documents": ["a"]}', 400),
    "deep lists": (b"[" * 100_000 + b"]" * 100_000, 400),
    "deep objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400),
    "a key twice": (b'{"query": "a", "query": "b", "documents": ["a"]}', 200),
    "gzip": (gzip.compress(json.dumps(BODY).encode(), mtime=0), 400),
    "zeros": (b"\x00" * 1000, 400),
    "nothing": (b"", 400),
}


@pytest.mark.parametrize("name", HURTING)
def test_bodies_made_to_hurt(peer: Peer, name: str) -> None:
    content, status = HURTING[name]
    assert peer.statuses(post("/v1/rerank", content, "Content-Type: application/json")) == [status]


def test_two_requests_at_once_are_answered_in_order(peer: Peer) -> None:
    first = request_bytes(BODY)
    last = post("/v1/rerank", b"{}", "Content-Type: application/json")
    assert peer.statuses(first + first + last) == [200, 200, 400]


@pytest.mark.parametrize("cut", [1, 20, 60, 150])
def test_clients_that_leave_in_the_middle(peer: Peer, cut: int) -> None:
    for _ in range(20):
        assert peer.statuses(request_bytes(BODY)[:cut], leave=True) in ([], [400])
    assert peer.is_served()


def test_chunks_that_lie(peer: Peer) -> None:
    head = b"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for chunk in (b"zz\r\nab\r\n", b"ffffffffffffffffff\r\n", b"5\r\n{}\r\n0\r\n\r\n", b"-1\r\n\r\n"):
        assert all(status < 500 for status in peer.statuses(head + chunk, leave=True))


def test_nothing_is_left_behind(peer: Peer, record_property: RecordProperty) -> None:
    """Requests in flight, once everything is over; this test is the last of the file."""
    record_property(FUZZED, peer.cases)
    with peer.connect() as connection:
        connection.sendall(b"GET /load HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        connection.settimeout(PATIENCE)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    load = json.loads(body)
    assert (load["server_load"], load["tokens"], load["backlog_seconds"]) == (0, 0, 0)
