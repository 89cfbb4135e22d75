"""Peak memory of a server process, and a client that sends bytes as they are."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psutil

SECONDS = 100.0
"""Patience with one answer, many times what an idle machine needs."""
MEGABYTE = 1_000_000
# behind a body there is no line end before the next answer
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


@dataclass(slots=True)
class Cost:
    """What an attack cost the server. Complete once the attack is over."""

    seconds: float = 0.0
    """Of CPU time: other programs on the machine do not count."""
    peak: int = 0
    """Bytes of resident memory at the highest, above those at the beginning."""
    kept: int = 0
    """Bytes of resident memory at the end, above those at the beginning."""


@contextmanager
def measured(pid: int) -> Iterator[Cost]:
    """The cost of what is sent to the process within the block.

    The kernel keeps the peak, so that nothing is missed between two looks. Linux only."""
    process, cost = psutil.Process(pid), Cost()
    (Path("/proc") / str(pid) / "clear_refs").write_text("5")
    before, began = process.memory_info().rss, _cpu_seconds(process)
    try:
        yield cost
    finally:
        cost.seconds = _cpu_seconds(process) - began
        cost.peak = _highest(pid) - before
        cost.kept = process.memory_info().rss - before


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _highest(pid: int) -> int:
    status = (Path("/proc") / str(pid) / "status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@dataclass(frozen=True, slots=True)
class Exchange:
    """What came back over one connection."""

    received: bytes
    closed: bool
    """True if the server closed it; False if the time ran out first."""
    sent: int
    """Bytes that the server took, at most; fewer than all where it closed the connection before."""
    statuses: list[int] = field(default_factory=list)
    """Of each answer, interim ones included."""


@dataclass(frozen=True, slots=True)
class RawClient:
    """Sends bytes as they are, one connection per call."""

    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> RawClient:
        """A client of the server at the address."""
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        return cls(parts.hostname, parts.port)

    def connect(self, seconds: float = SECONDS) -> socket.socket:
        """A connection whose every operation ends within the time."""
        return socket.create_connection((self.host, self.port), seconds)

    def exchange(
        self, content: bytes | Iterable[bytes], *, leave_after: float | None = None, seconds: float = SECONDS
    ) -> Exchange:
        """Send, then read until the server closes the connection or is silent for so long.

        With ``leave_after`` a server that is silent for so many seconds is told that no more will come."""
        with self.connect(seconds) as connection:
            sent = _send(connection, [content] if isinstance(content, bytes) else content)
            received, closed = b"", False
            if leave_after is not None:
                connection.settimeout(leave_after)
                received, closed = _read(connection)
                connection.settimeout(seconds)
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
            if not closed:
                rest, closed = _read(connection)
                received += rest
        return Exchange(received, closed, sent, [int(status) for status in _STATUS.findall(received)])

    def is_served(self, path: str = "/health") -> bool:
        """Whether a plain request is answered with 200."""
        head = f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n\r\n"
        return self.exchange(head.encode()).statuses == [200]


def post_bytes(path: str, content: bytes, *headers: str, host: str = "127.0.0.1") -> bytes:
    """A whole POST request as it goes over the wire, the last of its connection."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(content)}", "Connection: close"]
    if not any(line.lower().startswith("content-type:") for line in headers):
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, *headers]).encode("latin-1") + b"\r\n\r\n" + content


def _send(connection: socket.socket, parts: Iterable[bytes]) -> int:
    sent = 0
    # the server may refuse and close before it has read everything
    with suppress(OSError):
        for part in parts:
            connection.sendall(part)
            sent += len(part)
    return sent


def _read(connection: socket.socket) -> tuple[bytes, bool]:
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except TimeoutError:
        return b"".join(parts), False
    except OSError:
        # reset: what was sent before has still been read
        return b"".join(parts), True
    return b"".join(parts), True
