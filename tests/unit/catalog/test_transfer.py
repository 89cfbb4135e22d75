"""One file over connections that break, trickle, or start again."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from rerank.catalog import session
from rerank.catalog.failures import CorruptFile
from rerank.catalog.transfer import Patience, RemoteFile, part_of, transfer
from tests.support.fake_hub import FakeFile, FakeHub

NAME = "org/tiny-reranker"
WEIGHTS = "model.safetensors"
CONTENT = bytes(range(256)) * 64
AT_ONCE = Patience(retry_delays=(0.0, 0.0))


@pytest.fixture
def weights(hub: FakeHub) -> FakeFile:
    return hub.add_repository(NAME, {WEIGHTS: CONTENT}).files[WEIGHTS]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / WEIGHTS


Bring = Callable[..., list[int]]


@pytest.fixture
def bring(hub: FakeHub, weights: FakeFile, target: Path) -> Bring:
    """Transfers the weights; the steps that were reported."""
    remote = RemoteFile(WEIGHTS, len(CONTENT), weights.sha256, weights.git_sha1)

    def run(patience: Patience = AT_ONCE) -> list[int]:
        steps: list[int] = []
        transfer(hf_hub_url(NAME, WEIGHTS, endpoint=hub.url), remote, target, steps.append, patience=patience)
        return steps

    return run


def test_a_broken_connection_is_resumed(hub: FakeHub, weights: FakeFile, target: Path, bring: Bring) -> None:
    weights.breaks = 2
    assert sum(bring()) == len(CONTENT)
    assert target.read_bytes() == CONTENT
    assert hub.ranges[0] == f"bytes={len(CONTENT) // 2}-"


def test_a_server_without_ranges_sends_everything_again(weights: FakeFile, target: Path, bring: Bring) -> None:
    weights.breaks, weights.ranges = 1, False
    steps = bring()
    assert target.read_bytes() == CONTENT
    assert sum(steps) == len(CONTENT)
    assert -len(CONTENT) // 2 in steps


def test_what_an_earlier_run_left_is_resumed(hub: FakeHub, weights: FakeFile, target: Path, bring: Bring) -> None:
    weights.breaks = 3
    with pytest.raises(httpx2.RemoteProtocolError):
        bring()
    assert not target.exists()

    hub.requests.clear()
    bring()
    # half of what was missing came three times
    assert hub.ranges == [f"bytes={len(CONTENT) - len(CONTENT) // 8}-"] * 2  # asked of the Hub, then of its CDN
    assert target.read_bytes() == CONTENT


def test_connections_that_bring_enough_are_never_too_many(hub: FakeHub, weights: FakeFile, bring: Bring) -> None:
    weights.breaks = 8
    bring(Patience(retry_delays=(0.0,), progress_bytes=1))
    assert weights.breaks == 0


def test_a_file_that_stays_unavailable_is_asked_for_once_more_than_there_are_delays(
    hub: FakeHub, weights: FakeFile, bring: Bring
) -> None:
    weights.status = 503
    with pytest.raises(HfHubHTTPError, match="503"):
        bring()
    assert len(hub.requests_of(f"|{WEIGHTS}")) == len(AT_ONCE.retry_delays) + 1


def test_a_file_that_is_refused_is_asked_for_once(hub: FakeHub, weights: FakeFile, bring: Bring) -> None:
    weights.status = 403
    with pytest.raises(HfHubHTTPError, match="403"):
        bring()
    assert len(hub.requests_of(f"|{WEIGHTS}")) == 1


@pytest.mark.parametrize("served", [CONTENT[:-10], CONTENT + b"more", bytes(len(CONTENT))], ids=["short", "long", "0"])
def test_bytes_that_are_not_the_files_are_deleted(
    hub: FakeHub, weights: FakeFile, target: Path, bring: Bring, served: bytes
) -> None:
    weights.served = served
    with pytest.raises(CorruptFile, match=WEIGHTS):
        bring()
    assert list(target.parent.iterdir()) == []


@contextlib.contextmanager
def dripping(beginning: bytes, drop: bytes) -> Iterator[str]:
    """Where a server answers with drops, for as long as the context is open."""
    closed = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            # until the client leaves
            with connection, contextlib.suppress(ConnectionError):
                connection.sendall(beginning)
                while not closed.wait(0.01):
                    connection.sendall(drop)

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        closed.set()
        server.join()


@pytest.mark.parametrize(
    ("beginning", "drop"),
    [(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"), (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")],
    ids=["header", "early-hints"],
)
def test_an_answer_that_never_begins_is_given_up(target: Path, beginning: bytes, drop: bytes) -> None:
    remote = RemoteFile(WEIGHTS, 10**9, None, "b" * 40)
    with (
        dripping(beginning, drop) as url,
        pytest.raises(httpx2.ReadTimeout, match=r"no whole answer within 0\.1 s"),
    ):
        transfer(url, remote, target, lambda _: None, patience=Patience((), answer_seconds=0.1))


def test_an_error_that_trickles_is_still_an_error(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_ERROR_SECONDS", 0.0)
    remote = RemoteFile(WEIGHTS, 10**9, None, "b" * 40)
    with (
        dripping(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 60000\r\n\r\n", b"x") as url,
        pytest.raises(HfHubHTTPError, match="403"),
    ):
        transfer(url, remote, target, lambda _: None, patience=Patience(()))


def test_an_answer_that_comes_too_late_is_closed() -> None:
    asked, closed = threading.Event(), threading.Event()

    def work() -> str:
        asked.wait()
        return "late"

    with pytest.raises(httpx2.ReadTimeout):
        session._within(0.0, work, late=lambda _: closed.set())
    asked.set()
    assert closed.wait(20)


@pytest.fixture
def trickle() -> Iterator[str]:
    """Where a server sends a byte at a time until its client leaves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
                # until the client leaves
                with contextlib.suppress(ConnectionError):
                    while True:
                        connection.sendall(b"x")

        server = threading.Thread(target=serve, daemon=True)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        server.join()


def test_a_connection_that_trickles_is_given_up(trickle: str, target: Path) -> None:
    remote = RemoteFile(WEIGHTS, 10**9, None, "b" * 40)
    with pytest.raises(httpx2.ReadTimeout, match=r"less than 1000000000 bytes came in 0\.01 s"):
        transfer(trickle, remote, target, lambda _: None, patience=Patience((), pace_seconds=0.01, pace_bytes=10**9))
    assert part_of(target, remote).stat().st_size > 0
