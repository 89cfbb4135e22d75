"""A cluster from the command line: `rerank cluster`, alone and in a Ray that runs, and `serve deploy`."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml  # type: ignore[import-untyped]

from rerank.access.keyring import key_hash
from tests.process.server import ROOT, ServerProcess, clean_environment
from tests.support.local_cluster import cards_file
from tests.support.ports import free_port
from tests.support.ray_node import RayNode
from tests.support.waiting import wait_until

SECONDS = 240
DOCUMENTS = ["Berlin is the capital of Germany.", "Paris is the capital of France."]

pytestmark = pytest.mark.timeout(600)


@contextmanager
def rerank_cluster(
    folder: Path, *options: str, environment: Mapping[str, str] | None = None, port: int = 0, status: int = 0
) -> Iterator[ServerProcess]:
    """The command, once it serves; its process is stopped at the end as an operator does it, and has this status."""
    port = port or free_port()
    command = (str(ROOT / "rerank_server.py"), "cluster", "--port", str(port), "--num-cpus", "0", *options)
    process = ServerProcess(folder, {"PYTHONPATH": str(ROOT), **(environment or {})}, command)
    process.url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: logged(process, f"serves on port {port}"), SECONDS)
        yield process
    finally:
        process.signal(signal.SIGTERM)
        ended = process.wait()
    assert ended == status, process.log[-20:]


def logged(process: ServerProcess, text: str, times: int = 1) -> bool:
    return sum(text in line for line in process.log) >= times


def write_keys(folder: Path, *keys: str) -> None:
    entries = [f'[[key]]\nname = "{key}"\nsha256 = "{key_hash(key)}"\n' for key in keys]
    (folder / "keys.toml").write_text("\n".join(entries), encoding="utf-8")


def statuses(process: ServerProcess, key: str) -> set[int]:
    """Of several requests, which ingresses share; a replica answers each, if the ingress knows the key."""
    given = {"Authorization": f"Bearer {key}"}
    body = {"model": "no-such-model", "query": "a", "documents": ["b"]}
    asked = (requests.post(f"{process.url}/v1/rerank", json=body, headers=given, timeout=SECONDS) for _ in range(10))
    return {answer.status_code for answer in asked}


def test_sighup_has_every_process_read_its_files_again(tmp_path: Path) -> None:
    cards_file(tmp_path)
    write_keys(tmp_path, "old")
    with rerank_cluster(tmp_path, "--replicas", "2", "--downloads", "off") as cluster:
        assert [statuses(cluster, key) for key in ("old", "new")] == [{404}, {401}]
        write_keys(tmp_path, "new")
        cluster.signal(signal.SIGHUP)
        wait_until(lambda: logged(cluster, "reloaded models and keys: ingress, all 2"), SECONDS)
        assert logged(cluster, "reloaded models and keys: replicas, all 2")
        assert [statuses(cluster, key) for key in ("old", "new")] == [{401}, {404}]
        (tmp_path / "keys.toml").write_text("[[key]]", encoding="utf-8")
        cluster.signal(signal.SIGHUP)
        wait_until(lambda: logged(cluster, "reload failed, models and keys unchanged"), SECONDS)
        assert statuses(cluster, "new") == {404}


def test_a_cluster_joins_a_ray_that_runs_and_leaves_it(tmp_path: Path) -> None:
    cards_file(tmp_path)
    with RayNode(tmp_path, cpus=1) as node:
        environment = {**node.environment, "RAY_ADDRESS": node.address}
        for _ in range(2):
            with rerank_cluster(
                tmp_path, "--address", "auto", "--downloads", "off", environment=environment
            ) as cluster:
                assert requests.get(f"{cluster.url}/health", timeout=SECONDS).status_code == 200
        assert node.runs


def test_a_killed_command_takes_its_cluster_along_and_can_be_started_again(tmp_path: Path) -> None:
    cards_file(tmp_path)
    port, options = free_port(), ("--replicas", "1", "--downloads", "off")
    with rerank_cluster(tmp_path, *options, port=port, status=-signal.SIGKILL) as cluster:
        cluster.stop(signal.SIGKILL)
        wait_until(lambda: status_of(cluster.url) is None, SECONDS)
    with rerank_cluster(tmp_path, *options, port=port) as again:
        assert requests.get(f"{again.url}/health", timeout=SECONDS).status_code == 200


def test_serve_deploys_the_example(tmp_path: Path) -> None:
    port, example = free_port(), yaml.safe_load((ROOT / "examples" / "serve.yaml").read_text(encoding="utf-8"))
    example["http_options"]["port"] = port
    example["applications"][0]["args"]["settings"]["RERANK_MODELS_DIR"] = str(tmp_path / "models")
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(example), encoding="utf-8")
    with RayNode(tmp_path, cpus=4) as node:
        deploy = [sys.executable, "-m", "ray.serve.scripts", "deploy", "serve.yaml", "--address", node.dashboard]
        environment = clean_environment(tmp_path) | dict(node.environment)
        subprocess.run(deploy, cwd=tmp_path, env=environment, check=True, timeout=SECONDS)
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: serves(url), SECONDS)
        body = {"query": "capital of France?", "documents": DOCUMENTS}
        answer = requests.post(f"{url}/v1/rerank", json=body, timeout=SECONDS).json()
        assert [result["index"] for result in answer["results"]] == [1, 0]


def serves(url: str) -> bool:
    return status_of(url) == 200


def status_of(url: str) -> int | None:
    """Of `/ready`; None without a listener."""
    try:
        return requests.get(f"{url}/ready", timeout=SECONDS).status_code
    except requests.ConnectionError:
        return None
