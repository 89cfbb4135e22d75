"""What a cluster under Ray adds to a request, and what it does when replicas come and go.

    python -m benchmarks.cluster

Two replicas on this machine, once without a model and once with the bundled one, next to one plain process. The same
requests take turns at both, so that both see the same machine. Then, under load: a replica is killed, all are replaced,
one becomes two and one again. Prints milliseconds, CPU milliseconds and counts.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import psutil
import requests

from benchmarks.contestants import ROOT
from benchmarks.overhead import words_server
from benchmarks.processes import Contestant, process_tree, serving
from rerank.catalog.built_in import EMBEDDED_MODEL_ID
from rerank.cluster.options import SERVER
from tests.support.app import MODEL
from tests.support.cluster_server import GATE
from tests.support.local_cluster import cards_file
from tests.support.ray_cluster import RayCluster
from tests.support.steady_load import PATIENCE, Ask, SteadyLoad, asking
from tests.support.waiting import wait_until

_WARM_UP = 20
_CLIENTS = 8
_WORDS, _GATED = "tests.support.cluster_server:words", "tests.support.cluster_server:gated"


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--load-seconds", type=float, default=20, help="duration of each load")
    parser.add_argument("--only", choices=_PARTS, help="one part alone")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary, started(Path(temporary)) as cluster:
        for part in (options.only,) if options.only else _PARTS:
            _PARTS[part](cluster, options.requests, options.load_seconds)


def words(cluster: RayCluster, number: int, seconds: float) -> None:
    """Overhead and throughput without a model."""
    cluster.deploy(replicas=2, server=_WORDS)
    compare("without a model", cluster, words_server(), MODEL.id, number, seconds)


def bundled(cluster: RayCluster, number: int, seconds: float) -> None:
    """The same with the bundled model."""
    settings = {
        "RERANK_CACHE": "off",
        "RERANK_DEFAULT_MODEL": EMBEDDED_MODEL_ID,
        "RERANK_PRELOAD": EMBEDDED_MODEL_ID,
    }
    cluster.deploy(replicas=2, server=SERVER, settings=settings)
    alone = Contestant("bundled", (sys.executable, str(ROOT / "rerank_server.py"), "--port", "{port}"), settings)
    compare("bundled model", cluster, alone, EMBEDDED_MODEL_ID, number, seconds)


def faults(cluster: RayCluster, number: int, seconds: float) -> None:
    """Replicas that come and go under load."""
    del number
    cluster.deploy(replicas=2, ingresses=2, server=_GATED)
    killed(cluster, seconds)
    replaced(cluster)
    scaled(cluster)


_PARTS = {"words": words, "bundled": bundled, "faults": faults}


@contextmanager
def started(folder: Path) -> Iterator[RayCluster]:
    """Ray, with nothing deployed."""
    (folder / "models").mkdir()
    cards_file(folder)
    with RayCluster(folder) as cluster:
        yield cluster


def compare(title: str, cluster: RayCluster, plain: Contestant, model: str, number: int, seconds: float) -> None:
    """One client, then several, at both."""
    with serving(plain, cluster.folder / "logs") as server:
        latencies(title, cluster.url, server.url, model, number)
        pids = {
            server.url: lambda: process_tree(server.pid),
            cluster.url: lambda: [each.pid for each in cluster.processes()],
        }
        for name, url in (("one process", server.url), ("cluster", cluster.url)):
            done, cpu = throughput(url, model, seconds, pids[url])
            each = f"{done / seconds:.1f} requests/s, {cpu / done * 1000:.1f} ms of CPU each"
            print(f"{title}, {name}, {_CLIENTS} clients: {each}", flush=True)
        idle = idle_load(pids[cluster.url], seconds)
        print(f"{title}, cluster, idle: {idle * 1000:.0f} ms of CPU per second", flush=True)


def idle_load(processes: Callable[[], Sequence[int]], seconds: float) -> float:
    """CPU seconds per second without a request."""
    before = _cpu_seconds(processes())
    time.sleep(seconds)
    return (_cpu_seconds(processes()) - before) / seconds


def latencies(title: str, cluster: str, plain: str, model: str, number: int) -> None:
    """Requests that take turns at one process, at the cluster, and at what the ingress refuses alone."""
    with requests.Session() as session:
        asked = {
            "one process": asking(session, plain, model),
            "cluster": asking(session, cluster, model),
            "ingress alone": asking(session, cluster, model, f"/v1/models/{model}/load?replicas=0"),
        }
        turns = [[_timed(ask) for ask in asked.values()] for _ in range(_WARM_UP + number)][_WARM_UP:]
    for name, column in zip(asked, zip(*turns, strict=True), strict=True):
        print(f"{title}, {name}: {_percentiles(column)}", flush=True)
    print(f"{title}, added by the cluster: {_percentiles([turn[1] - turn[0] for turn in turns])}", flush=True)


def throughput(url: str, model: str, seconds: float, processes: Callable[[], Sequence[int]]) -> tuple[int, float]:
    """Requests answered, and CPU seconds of the servers."""
    before = _cpu_seconds(processes())
    with SteadyLoad(url, model, _CLIENTS) as load:
        time.sleep(seconds)
    assert not load.wrong, load.outcome
    assert not load.broken, load.outcome
    return load.right, _cpu_seconds(processes()) - before


def killed(cluster: RayCluster, seconds: float) -> None:
    """A replica killed under load, twice."""
    with SteadyLoad(cluster.url, MODEL.id, _CLIENTS) as load:
        for _ in range(2):
            time.sleep(seconds / 2)
            busiest = max(cluster.loads().items(), key=lambda each: len(each[1]["models"]))[0]
            cluster.kill(busiest)
            began = time.monotonic()
            wait_until(lambda lost=busiest: lost not in cluster.loads() and len(cluster.loads()) == 2, PATIENCE)  # type: ignore[misc]
            print(f"killed: another replica after {time.monotonic() - began:.1f} s", flush=True)
    print(f"killed twice under load: {load.outcome}", flush=True)


def replaced(cluster: RayCluster) -> None:
    """A rolling update under load."""
    before = set(cluster.loads())
    with SteadyLoad(cluster.url, MODEL.id, _CLIENTS) as load:
        began = time.monotonic()
        cluster.deploy(replicas=2, ingresses=2, server=_GATED, settings={"RERANK_TIMEOUT": "299"})
        wait_until(lambda: len(cluster.loads()) == 2 and not before & set(cluster.loads()), PATIENCE)
        took = time.monotonic() - began
    print(f"two replicas replaced in {took:.1f} s: {load.outcome}", flush=True)


def scaled(cluster: RayCluster) -> None:
    """From one replica to two by backlog, and back."""
    scaling: dict[str, Any] = {"max_replicas": 2, "target_backlog": 0.5, "upscale_delay": 0, "downscale_delay": 5}
    cluster.deploy(replicas=1, server=_GATED, **scaling)
    wait_until(lambda: len(cluster.loads()) == 1, PATIENCE)
    gate = cluster.folder / "models" / GATE
    gate.touch()
    with SteadyLoad(cluster.url, MODEL.id, _CLIENTS) as load:
        began = time.monotonic()
        wait_until(lambda: len(cluster.loads()) == 2, PATIENCE)
        up = time.monotonic() - began
        gate.unlink()
    began = time.monotonic()
    wait_until(lambda: len(cluster.loads()) == 1, PATIENCE)
    down = time.monotonic() - began
    print(f"one to two after {up:.1f} s of backlog, back after {down:.1f} s: {load.outcome}", flush=True)


def _timed(ask: Ask) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def _percentiles(seconds: Sequence[float]) -> str:
    p50, p99 = numpy.percentile(numpy.array(seconds) * 1000, [50, 99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def _cpu_seconds(pids: Sequence[int]) -> float:
    used = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        used += times.user + times.system
    return used


if __name__ == "__main__":
    main()
