"""What the attacks are measured with."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.abuse.conftest import StartServer
from tests.abuse.support import MEGABYTE, RawClient, measured, post_bytes

_TAKES_MEMORY = """
import sys
for line in sys.stdin:
    taken = bytearray(int(line))
    for place in range(0, len(taken), 4096):
        taken[place] = 1
    del taken
    print("done", flush=True)
"""


@pytest.fixture
def glutton() -> Iterator[subprocess.Popen[str]]:
    """A process that takes as many bytes as it is told, and gives them back."""
    with subprocess.Popen(
        [sys.executable, "-c", _TAKES_MEMORY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def take(process: subprocess.Popen[str], amount: int) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{amount}\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def test_memory_that_was_given_back_still_counts_in_the_peak(glutton: subprocess.Popen[str]) -> None:
    take(glutton, 1000)
    with measured(glutton.pid) as large:
        take(glutton, 100 * MEGABYTE)
    with measured(glutton.pid) as small:
        take(glutton, 1000)

    assert 95 * MEGABYTE < large.peak < 120 * MEGABYTE
    assert large.kept < 20 * MEGABYTE
    assert small.peak < 20 * MEGABYTE


def test_a_server_that_closes_early_is_told_from_one_that_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = RawClient("127.0.0.1", listening.getsockname()[1])

        def serve() -> None:
            with listening.accept()[0] as first:
                first.recv(100)
                first.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nbodyHTTP/1.1 413 Too Large\r\n\r\n")
            silent.append(listening.accept()[0])

        silent: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        refused, waited = client.exchange(b"GET"), client.exchange(b"GET", seconds=0.2)
        thread.join()
        silent[0].close()

    assert (refused.statuses, refused.closed) == ([100, 200, 413], True)
    assert (waited.statuses, waited.closed, waited.sent) == ([], False, 3)


def test_a_real_server_answers_the_raw_client(start_server: StartServer) -> None:
    server = start_server(RERANK_API_KEY="sk-of-the-test")
    client = RawClient.of(server.url)
    body = b'{"query": "a", "documents": ["b", "c"]}'

    assert client.is_served()
    assert client.exchange(post_bytes("/v1/rerank", body)).statuses == [401]
    assert client.exchange(post_bytes("/v1/rerank", body, "Authorization: Bearer sk-of-the-test")).statuses == [200]
