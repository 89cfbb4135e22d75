"""Servers that the server under test depends on: upstreams and Redis. They are killed and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants import ROOT
from benchmarks.processes import NotAvailableError
from benchmarks.soak_upstream import MANNERS
from tests.support.ports import free_port

_PATIENCE = 60.0
_REDIS = shutil.which("redis-server")


@dataclass(slots=True)
class Helper:
    """A process that listens on a port of its own, always the same. ``{port}`` in the command is where."""

    name: str
    command: tuple[str, ...]
    folder: Path
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens. Raises NotAvailableError."""
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [part.format(port=self.port) for part in self.command],
                cwd=self.folder,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        raise NotAvailableError(f"{self.name} does not listen (log: {log.name})")

    def kill(self) -> None:
        """End it at once, whatever it does."""
        if self._process:
            self._process.kill()
            self._process.wait()


@dataclass(frozen=True, slots=True)
class Helpers:
    """All of them, running."""

    upstreams: Mapping[str, Helper]
    """By manner."""
    redis: Helper | None
    """None where it is not installed."""

    @property
    def cache(self) -> str:
        """The server's setting RERANK_CACHE."""
        return f"redis://127.0.0.1:{self.redis.port}/0" if self.redis else "memory"

    @property
    def breakable(self) -> list[Helper]:
        """Those that are killed in the middle."""
        found = [self.upstreams["healthy"], self.redis, self.upstreams["slow"]]
        return [helper for helper in found if helper]


@contextmanager
def helpers(folder: Path) -> Iterator[Helpers]:
    """Start all, with their logs in ``folder``; end them afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    upstream = (sys.executable, "-m", "benchmarks.soak_upstream", "{port}")
    upstreams = {manner: Helper(f"upstream-{manner}", (*upstream, manner), folder) for manner in MANNERS}
    redis = Helper("redis", (_REDIS, "--port", "{port}", *_IN_MEMORY), folder) if _REDIS else None
    found = Helpers(upstreams, redis)
    every = [*upstreams.values(), *([redis] if redis else [])]
    try:
        for helper in every:
            helper.start()
        yield found
    finally:
        for helper in every:
            helper.kill()


_IN_MEMORY = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
