"""Open connections: how many there may be, and a look at each once a second."""

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
"""At most one line about the same trouble in so many seconds."""
_MOST_BY_DEFAULT = 2048
_SHARE_OF_DESCRIPTORS = 0.75
"""Of the process's file descriptors; files of models, downloads and the log need some too."""
_SHARE_OF_ONE_ADDRESS = 0.75
_SURPLUS = 64
"""Connections beyond the limit that are answered 503; those beyond these are cut off."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Seconds that a connection may take for each thing."""

    head: float = 30.0
    """Until the head of a request has come."""
    read_answer: float = 60.0
    """Until the client has read more of its answer."""


class Connection(Protocol):
    """What is watched."""

    def look(self, now: float) -> None:
        """Close it if its time is up."""


class Connections:
    """The server's connections, by the address of the client. Belongs to the event loop's thread."""

    def __init__(self, most: int | None, metrics: Metrics, look_every: float = 1.0) -> None:
        """``most``: None is what the process's file descriptors allow."""
        self.most = most or most_by_default()
        self._observe = metrics.observe
        self._look_every = look_every
        self._open: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._said: dict[str, float] = {}
        metrics.add_gauges(Gauge("rerank_connections", "Open connections.", lambda: len(self._open)))

    def enter(self, connection: Connection, address: str, loop: asyncio.AbstractEventLoop) -> bool:
        """Watch a new connection; False if it is one too many."""
        self._open.add(connection)
        self._by_address[address] += 1
        if self._timer is None:
            self._timer = loop.call_later(self._look_every, self._look, loop)
        if len(self._open) <= self.most and self._by_address[address] <= max(1, self.most * _SHARE_OF_ONE_ADDRESS):
            return True
        self._say(
            "limit",
            "too many connections: %d are open, %d of them from %s, at most %d may be (RERANK_MAX_CONNECTIONS); new "
            "ones are answered 503",
            len(self._open),
            self._by_address[address],
            address,
            self.most,
        )
        return False

    @property
    def overrun(self) -> bool:
        """True if there are so many beyond the limit that not even a refusal is sent."""
        return len(self._open) > self.most + _SURPLUS

    def leave(self, connection: Connection, address: str) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self._by_address[address] -= 1
        if self._by_address[address] <= 0:
            del self._by_address[address]

    def count(self, reason: str) -> None:
        """The server closed one."""
        self._observe(ConnectionClosed(reason))

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._open):
            connection.look(now)
        self._check_descriptors()
        self._timer = loop.call_later(self._look_every, self._look, loop) if self._open else None

    def _check_descriptors(self) -> None:
        """Say so when there is none left: nothing else does, new connections just wait."""
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
                self.most,
            )

    def _say(self, trouble: str, message: str, *values: object) -> None:
        now = time.monotonic()
        if now - self._said.get(trouble, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._said[trouble] = now
            logger.warning(message, *values)


def most_by_default() -> int:
    """How many connections the process's file descriptors allow, up to what is enough."""
    descriptors = _descriptors()
    return (
        _MOST_BY_DEFAULT
        if descriptors is None
        else max(1, min(_MOST_BY_DEFAULT, int(descriptors * _SHARE_OF_DESCRIPTORS)))
    )


def _descriptors() -> int | None:
    """How many the process may have; None is no limit."""
    try:
        import resource
    except ImportError:
        # Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft
