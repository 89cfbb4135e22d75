"""A cluster under Ray in a process of its own: `python -m tests.support.ray_cluster [ADDRESS]`.

Each line of its input is a JSON object of options to deploy. It stops when the input ends, and so does not outlive the
process that started it, however that one ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import requests

from rerank.cluster.needs import needed
from rerank.cluster.options import cluster_settings, read_options
from rerank.cluster.running import deploy, prepare_ray, start_ray
from tests.support.ports import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
_OBJECT_STORE = 100 * 1024 * 1024
_PATIENCE = 240
"""Seconds for Ray to start, or for a deployment; many times what an idle machine needs."""
_ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    # a dozen processes import Ray
    "PYTHONDONTWRITEBYTECODE": "",
    # both are 10 s by default
    "RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
    "RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S": "1",
}


class RayCluster:
    """The process, from outside. Works inside ``with``."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None, address: str | None = None) -> None:
        """``folder``: where it runs, and models lie in ``models``. ``address``: of a Ray that runs already."""
        self.folder = folder
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._said: queue.Queue[str] = queue.Queue()
        with (folder / "cluster.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.ray_cluster", *([address] if address else [])],
                cwd=folder,
                env=os.environ | _ENVIRONMENT | dict(environment or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        self._wait_for("started")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        children = self.processes() if self._process.poll() is None else []
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(_PATIENCE)
        self._listener.join(_PATIENCE)
        wait_until(lambda: not any(child.is_running() for child in children))

    def deploy(self, *, settings: Mapping[str, str] | None = None, **options: Any) -> None:
        """Deploy with these options, or update to them, and return once it serves."""
        of_servers = {
            "RERANK_HOST": "127.0.0.1",
            "RERANK_PORT": str(self._port),
            "RERANK_MODELS_DIR": str(self.folder / "models"),
        }
        given = {"num_cpus": 0, "ingresses": 1, "settings": of_servers | dict(settings or {}), **options}
        assert self._process.stdin
        print(json.dumps(given), file=self._process.stdin, flush=True)
        self._wait_for("deployed")

    def processes(self) -> Sequence[psutil.Process]:
        """Every process of the cluster but the first."""
        return psutil.Process(self._process.pid).children(recursive=True)

    def loads(self) -> dict[str, Any]:
        """The load of each replica."""
        replicas: dict[str, Any] = requests.get(f"{self.url}/load", timeout=_PATIENCE).json()["replicas"]
        return replicas

    def kill(self, replica: str) -> None:
        """End a replica as the kernel would: without a word."""
        self._kill(f"_{replica}.log")

    def kill_ingress(self) -> None:
        """The same of an ingress."""
        self._kill("_rerank_ingress_")

    def kill_head(self) -> None:
        """The same of what knows where everything is."""
        next(process for process in self.processes() if process.name() == "gcs_server").kill()

    def wait_for_end(self) -> int:
        """Return the status of the process that started Ray, once it has ended without being asked; Ray leaves some."""
        children = self.processes()
        status = self._process.wait(_PATIENCE)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        return status

    def _kill(self, log: str) -> None:
        """End a process by a part of the name of its log."""
        for process in self.processes():
            if any(log in file.path for file in process.open_files()):
                process.send_signal(signal.SIGKILL)
                return
        raise AssertionError(f"there is no process that writes {log}")

    def _listen(self) -> None:
        assert self._process.stdout
        with self._process.stdout as said:
            for line in said:
                self._said.put(line.strip())
        self._said.put("ended")

    def _wait_for(self, word: str) -> None:
        while (said := self._said.get(timeout=_PATIENCE)) != word:
            log = (self.folder / "cluster.log").read_text(encoding="utf-8", errors="replace")
            assert said != "ended", log[-5000:]


def main(address: str | None = None) -> None:
    """Start or join Ray, deploy what the input says, and stop at its end."""
    prepare_ray()
    ray = needed("ray")
    start_ray(ray, address, **({} if address else {"num_cpus": 2, "object_store_memory": _OBJECT_STORE}))
    print("started", flush=True)  # noqa: T201
    try:
        for line in sys.stdin:
            options = read_options(json.loads(line))
            deploy(options, cluster_settings(options))
            print("deployed", flush=True)  # noqa: T201
    finally:
        needed("ray.serve").shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
