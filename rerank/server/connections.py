"""Open connections: their maximum, and a check of each once per second."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from rerank.telemetry.events import ConnectionClosed
from rerank.telemetry.metrics import Gauge, Metrics

logger = logging.getLogger(__name__)

_LOG_SECONDS = 60
"""Seconds between two log lines about the same problem."""
_DEFAULT_MAXIMUM = 2048
_SHARE_OF_DESCRIPTORS = 0.75
"""Share of the process's file descriptors; models, downloads and the log need some, too."""
_SHARE_OF_ONE_ADDRESS = 0.75
_SURPLUS = 64
"""Connections beyond the maximum that are answered 503; further ones are aborted."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Time limits of a connection, in seconds."""

    head: float = 30.0
    """Until the head of a request is complete."""
    read_answer: float = 60.0
    """Until the client has read more of its response."""


class Connection(Protocol):
    """A watched connection."""

    def look(self, now: float) -> None:
        """Close it if it has timed out."""


class Connections:
    """The server's connections, by client address. To be used on the event loop's thread."""

    def __init__(self, maximum: int | None, metrics: Metrics, look_every: float = 1.0) -> None:
        """``maximum``: None is what the process's file descriptors allow."""
        self.maximum = maximum or default_maximum()
        self._observe = metrics.observe
        self._look_every = look_every
        self._open: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._said: dict[str, float] = {}
        metrics.add_gauges(Gauge("rerank_connections", "Open connections.", lambda: len(self._open)))

    def enter(self, connection: Connection, address: str, loop: asyncio.AbstractEventLoop) -> bool:
        """Watch a new connection; False if it exceeds the maximum."""
        self._open.add(connection)
        self._by_address[address] += 1
        if self._timer is None:
            self._timer = loop.call_later(self._look_every, self._look, loop)
        if len(self._open) <= self.maximum and self._by_address[address] <= max(
            1, self.maximum * _SHARE_OF_ONE_ADDRESS
        ):
            return True
        self._say(
            "limit",
            "too many connections: %d open, %d of them from %s, maximum %d (RERANK_MAX_CONNECTIONS); new ones are "
            "answered 503",
            len(self._open),
            self._by_address[address],
            address,
            self.maximum,
        )
        return False

    @property
    def overrun(self) -> bool:
        """True if there are too many even to answer 503."""
        return len(self._open) > self.maximum + _SURPLUS

    def leave(self, connection: Connection, address: str) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def count(self, reason: str) -> None:
        """Count a connection that the server closed."""
        self._observe(ConnectionClosed(reason))

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.look(now)
        self._check_descriptors()
        self._timer = loop.call_later(self._look_every, self._look, loop) if self._open else None

    def _check_descriptors(self) -> None:
        """Log when none is left: otherwise new connections just wait."""
        try:
            os.close(os.dup(2))
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            self._say(
                "descriptors",
                "out of file descriptors with %d open connections: new ones wait; raise the limit (ulimit -n, now %s) "
                "or lower RERANK_MAX_CONNECTIONS (now %d)",
                len(self._open),
                _descriptors(),
                self.maximum,
            )

    def _say(self, trouble: str, message: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._said.get(trouble, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._said[trouble] = now
            logger.warning(message, *values)


def default_maximum() -> int:
    """Connections that the process's file descriptors allow, at most 2048."""
    descriptors = _descriptors()
    return (
        _DEFAULT_MAXIMUM
        if descriptors is None
        else max(1, min(_DEFAULT_MAXIMUM, int(descriptors * _SHARE_OF_DESCRIPTORS)))
    )


def _descriptors() -> int | None:
    """Maximum of the process; None is no limit."""
    try:
        import resource
    except ImportError:
        # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
