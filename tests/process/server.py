"""A real server process on a free port, for tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support.kept import share_kept_networks
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
_RUNNING = re.compile(r"Uvicorn running on (http://[\w.:\[\]]+)")
_START_SECONDS = 60
_STOP_SECONDS = 30


class ServerProcess:
    """`python rerank_server.py` (or another command) in a folder of its own, with only the settings given."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        command: Sequence[str] = (str(ROOT / "rerank_server.py"), "--port", "0"),
        **process: Any,
    ) -> None:
        """``process`` is handed to ``subprocess.Popen``."""
        share_kept_networks(folder / "models")
        self.folder = folder
        self.log: list[str] = []
        self.url = ""
        self._running = threading.Event()
        self._logged = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, *command],
            **process,
            cwd=folder,
            env=clean_environment(folder) | dict(settings or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        self._running.wait(_START_SECONDS)
        assert self.url, "the server did not start:\n" + "".join(self.log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.stop()

    def stop(self, with_signal: int = signal.SIGTERM) -> int:
        """Send the signal and wait; the exit status."""
        self.signal(with_signal)
        return self.wait()

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send the signal."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for the process to end by itself; the exit status."""
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        finally:
            self._reader.join()
            assert self._process.stderr is not None
            self._process.stderr.close()

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Return once so many log lines hold the text."""
        with self._logged:
            heard = self._logged.wait_for(lambda: sum(text in line for line in self.log) >= times, _START_SECONDS)
            assert heard, self.log

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._logged:
                self.log.append(line)
                self._logged.notify_all()
            if found := _RUNNING.search(line):
                self.url = found[1]
                self._running.set()
        self._running.set()


def post(server: ServerProcess, body: Mapping[str, Any], path: str = "/v1/rerank", **options: Any) -> requests.Response:
    """The answer to a rerank request."""
    return requests.post(server.url + path, json=body, timeout=110, **options)


def download_of(server: ServerProcess, model: str) -> dict[str, int] | None:
    """How far a model's download is, as ``/v1/models`` says."""
    download: dict[str, int] | None = requests.get(f"{server.url}/v1/models/{model}", timeout=60).json()["download"]
    return download


def wait_for_work(server: ServerProcess) -> None:
    """Return once the server works on a request."""
    wait_until(lambda: requests.get(f"{server.url}/load", timeout=60).json()["server_load"] > 0)


def wait_for_half(server: ServerProcess, model: str, size: int) -> None:
    """Return once half of the weights have come."""
    wait_until(lambda: (download_of(server, model) or {"done": 0})["done"] >= size // 2)


def wait_for_bytes(staging: Path) -> None:
    """Return once the first bytes of the weights are on disk: what was sent may still be on its way."""
    wait_until(lambda: any(part.stat().st_size for part in staging.glob("model.safetensors.*.part")))


def clean_environment(folder: Path) -> dict[str, str]:
    """What a process needs to start, without settings of whoever runs the tests, and without their caches."""
    kept = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {name: value for name, value in os.environ.items() if name.startswith("COV")}
    return environment | {
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(folder / "hf"),
        # nothing listens there: a test that reaches for the real Hub fails at once
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "NO_PROXY": "*",
        "OMP_NUM_THREADS": "1",
        # importing torch takes seconds of each start, and many tests score nothing
        "RERANK_PRELOAD": "none",
        # what tests download fits on a disk that is nearly full
        "RERANK_MIN_FREE_DISK": "0",
    }
