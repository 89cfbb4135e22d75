"""What Ray runs on one machine: `ray start`, in the foreground. Several on one machine are several machines to Ray."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from rerank.cluster.proxy import PLACE, VARIABLE
from tests.support.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
_PATIENCE = 120
_OBJECT_STORE = 100 * 1024 * 1024


class RayNode:
    """The first machine of a Ray cluster, or a further one. Works inside ``with``."""

    def __init__(
        self,
        folder: Path,
        *,
        cpus: int,
        head: RayNode | None = None,
        lost: RayNode | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``head``: the first one, whose cluster it joins. ``lost``: an earlier first one, whose place it takes."""
        self._log = folder / f"ray-{secrets.token_hex(4)}.log"
        # sockets have short paths
        self._files = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        known = head or lost
        self.environment: Mapping[str, str] = known.environment if known else _environment(environment or {})
        """Of everything that is to reach the cluster."""
        self.address: str = known.address if known else f"127.0.0.1:{free_port()}"
        self.dashboard: str = known.dashboard if known else f"http://127.0.0.1:{free_port()}"
        place = ["--address", self.address] if head else self._as_head()
        with self._log.open("wb") as log:
            self._process = psutil.Popen(
                [*_COMMAND, *place, "--num-cpus", str(cpus)],
                cwd=folder,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _as_head(self) -> list[str]:
        ports = {"port": self.address, "dashboard-port": self.dashboard, "ray-client-server-port": f":{free_port()}"}
        given = [f"--{name}={address.rpartition(':')[2]}" for name, address in ports.items()]
        # where it finds another one's files it takes that for itself
        return ["--head", *given, "--temp-dir", self._files.name]

    def __enter__(self) -> Self:
        wait_until(self._has_started, _PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.lose()
        self._files.cleanup()

    def lose(self) -> None:
        """End every process at once, as a machine that loses its power does."""
        if self._process.is_running():
            processes = self._processes()
            for process in processes:
                _kill(process)
            psutil.wait_procs(processes, _PATIENCE)

    def freeze(self) -> None:
        """Halt every process: connections stay open, and nothing answers, as behind a broken network."""
        for process in self._processes():
            process.suspend()

    def _processes(self) -> list[psutil.Process]:
        return [self._process, *self._process.children(recursive=True)]

    def kill(self, name: str) -> None:
        """End the first process whose name begins so; Ray adds what one does."""
        for process in self._processes():
            if process.name().startswith(name):
                _kill(process)
                return
        raise AssertionError(f"there is no process {name}")

    @property
    def runs(self) -> bool:
        """False once it has ended."""
        return bool(self._process.poll() is None)

    def _has_started(self) -> bool:
        log = self._log.read_text(encoding="utf-8", errors="replace")
        assert self.runs, log[-5000:]
        return "Ray runtime started" in log


_COMMAND = [
    *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--node-ip-address", "127.0.0.1"),
    *("--object-store-memory", str(_OBJECT_STORE), "--min-worker-port", "0", "--max-worker-port", "0"),
    *("--dashboard-agent-listen-port", "0", "--disable-usage-stats"),
]


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    # a token of its own: that of this machine's user is left alone
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "", VARIABLE: PLACE, **token, **more}


def _kill(process: psutil.Process) -> None:
    try:
        process.kill()
    except psutil.NoSuchProcess:
        # it ended with another
        return
