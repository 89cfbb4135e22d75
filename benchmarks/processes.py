"""A contestant's server as a process: start it, wait until it answers, ask what memory it took, end it. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support.ports import free_port

_STOP_SECONDS = 30
_PROC = Path("/proc")


class NotAvailableError(Exception):
    """A contestant cannot run here; the text says why."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """A server to start. ``{port}`` in the command is where it listens."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    path: str = "/v1/rerank"


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers."""

    url: str
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """The process that was started."""
        return self.process.pid

    def stop(self) -> int:
        """Ask it to end, and wait until it has; the exit status. Raises subprocess.TimeoutExpired."""
        self.process.terminate()
        return self.process.wait(_STOP_SECONDS)

    def peak_bytes(self) -> int:
        """Most resident memory, summed over the server's processes; what they share counts for each."""
        return sum(_peak(pid) for pid in process_tree(self.pid))

    def cpu_seconds(self) -> float:
        """Seconds that its threads have computed, which a busy machine does not make more."""
        used = psutil.Process(self.pid).cpu_times()
        return float(used.user + used.system)

    def forget_peak(self) -> None:
        """Begin the peak again, so that it leaves out what only the start took."""
        for pid in process_tree(self.pid):
            with suppress(OSError):
                (_PROC / str(pid) / "clear_refs").write_text("5")


@contextmanager
def serving(contestant: Contestant, folder: Path, patience: float = 300) -> Iterator[RunningServer]:
    """The contestant's server, with its log in ``folder``. Raises NotAvailableError if it does not come up."""
    if not Path(contestant.command[0]).exists():
        raise NotAvailableError("not installed here: make bench-peers")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = folder / f"{contestant.name}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603
            [part.format(port=port) for part in contestant.command],
            cwd=folder,
            env=_environment() | contestant.environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_healthy(process, f"http://127.0.0.1:{port}", log, patience)
        yield RunningServer(f"http://127.0.0.1:{port}", process)
    finally:
        _end(process)


def process_tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    parents: dict[int, int] = {}
    for stat in _PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            # the name before it is in parentheses and may hold anything
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    tree = [pid]
    for parent in tree:
        tree += [child for child, its in parents.items() if its == parent]
    return tree


def _peak(pid: int) -> int:
    with suppress(OSError):
        for line in (_PROC / str(pid) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _environment() -> dict[str, str]:
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "OMP_NUM_THREADS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "NO_PROXY": "*"}


def _wait_until_healthy(process: subprocess.Popen[bytes], url: str, log: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise NotAvailableError(
                f"ended with status {process.returncode}: {last_line(log.read_text(errors='replace'))} (log: {log})"
            )
        with suppress(OSError, urllib.error.URLError), urllib.request.urlopen(f"{url}/health", timeout=5):  # noqa: S310
            return
        time.sleep(0.2)
    raise NotAvailableError(
        f"does not answer after {patience:.0f} s: {last_line(log.read_text(errors='replace'))} (log: {log})"
    )


def last_line(said: str) -> str:
    """The last line that names an error, else the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line and not line.startswith("Traceback")]
    return (errors or lines or ["it said nothing"])[-1][:300]


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end, then end whatever is left of its session."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
