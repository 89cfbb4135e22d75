"""The cluster under Ray: one for the whole file, because it takes seconds to start."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from rerank.access.keyring import key_hash
from tests.support.app import DOCUMENTS, MODEL, QUERY
from tests.support.cluster_server import GATE
from tests.support.local_cluster import cards_file
from tests.support.ray_cluster import RayCluster
from tests.support.redis_server import RedisServer
from tests.support.steady_load import SteadyLoad, is_right
from tests.support.waiting import wait_until

GATED = "tests.support.cluster_server:gated"
BODY = {"model": MODEL.id, "query": QUERY, "documents": DOCUMENTS, "cache": False}
SECONDS = 200

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "models").mkdir()
    cards_file(folder)
    with RayCluster(folder) as running:
        running.deploy(replicas=2, server=GATED)
        yield running


@pytest.fixture
def gate(cluster: RayCluster) -> Iterator[Path]:
    """A closed gate, opened at the end."""
    file = cluster.folder / "models" / GATE
    file.touch()
    yield file
    file.unlink(missing_ok=True)


def rerank(cluster: RayCluster, headers: Mapping[str, str] | None = None, **more: Any) -> requests.Response:
    return requests.post(f"{cluster.url}/v1/rerank", json=BODY | more, headers=headers, timeout=SECONDS)


def in_flight(cluster: RayCluster) -> int:
    return sum(load["server_load"] for load in cluster.loads().values())


def test_answers_through_the_proxy(cluster: RayCluster) -> None:
    answer = requests.post(f"{cluster.url}/v1/rerank", json=BODY, headers={"X-Request-Id": "mine"}, timeout=SECONDS)
    assert is_right(answer)
    assert (answer.headers["X-Request-Id"], answer.json()["id"]) == ("mine", "score-mine")


def test_sends_requests_to_the_replica_that_has_the_model(cluster: RayCluster) -> None:
    rerank(cluster)
    wait_until(lambda: any(MODEL.id in load["models"] for load in cluster.loads().values()))
    assert all(is_right(rerank(cluster, query=f"{QUERY} {number}")) for number in range(10))
    info = requests.get(f"{cluster.url}/v1/models/{MODEL.id}", timeout=SECONDS).json()
    assert len(info["replicas"]) == 1
    lines = requests.get(f"{cluster.url}/metrics", timeout=SECONDS).text.splitlines()
    counted = [line for line in lines if line.startswith("rerank_documents_total")]
    assert len(counted) == 1
    assert info["replicas"][0]["replica"] in counted[0]


def test_drops_the_work_of_a_client_that_leaves(cluster: RayCluster, gate: Path) -> None:
    with socket.create_connection(("127.0.0.1", int(cluster.url.rpartition(":")[2])), timeout=SECONDS) as connection:
        content = json.dumps(BODY).encode()
        head = f"POST /v1/rerank HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        wait_until(lambda: in_flight(cluster) == 1, SECONDS)
    wait_until(lambda: in_flight(cluster) == 0, SECONDS)


def test_a_killed_replica_loses_no_request_and_answers_none_wrong(cluster: RayCluster, gate: Path) -> None:
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(rerank, cluster, query=f"{QUERY} {number}") for number in range(8)]
        wait_until(lambda: in_flight(cluster) == len(asked), SECONDS)
        busiest = max(cluster.loads().items(), key=lambda each: each[1]["server_load"])[0]
        cluster.kill(busiest)
        wait_until(lambda: busiest not in cluster.loads() and in_flight(cluster) == len(asked), SECONDS)
        gate.unlink()
        assert all(is_right(each.result(SECONDS)) for each in asked)


@pytest.mark.parametrize("ingresses", [2, 1])
def test_a_killed_ingress_loses_no_request_and_answers_none_wrong(
    cluster: RayCluster, gate: Path, ingresses: int
) -> None:
    cluster.deploy(replicas=2, ingresses=ingresses, server=GATED)
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(rerank, cluster, query=f"{QUERY} {number}") for number in range(8)]
        wait_until(lambda: in_flight(cluster) == len(asked), SECONDS)
        cluster.kill_ingress()
        gate.unlink()
        answers = [each.result(SECONDS) for each in asked]
    assert [answer.status_code for answer in answers if not is_right(answer)] == []


def test_an_update_under_load_fails_no_request(cluster: RayCluster) -> None:
    # an ingress is replaced, too: the other one answers meanwhile
    cluster.deploy(replicas=2, ingresses=2, server=GATED)
    before = set(cluster.loads())
    with SteadyLoad(cluster.url, MODEL.id, 2) as load:
        cluster.deploy(replicas=2, ingresses=2, server=GATED, settings={"RERANK_TIMEOUT": "299"})
        wait_until(lambda: len(cluster.loads()) == 2 and not before & set(cluster.loads()), SECONDS)
    assert load.right
    assert ([answer.status_code for answer in load.wrong], load.broken) == ([], 0)


def test_the_number_of_replicas_follows_the_backlog(cluster: RayCluster, gate: Path) -> None:
    scaling: dict[str, Any] = {"max_replicas": 2, "target_backlog": 0.5, "upscale_delay": 0, "downscale_delay": 1}
    cluster.deploy(replicas=1, server=GATED, **scaling)
    wait_until(lambda: len(cluster.loads()) == 1, SECONDS)
    with ThreadPoolExecutor(4) as callers:
        asked = [callers.submit(rerank, cluster) for _ in range(4)]
        wait_until(lambda: len(cluster.loads()) == 2, SECONDS)
        gate.unlink()
        assert all(is_right(each.result(SECONDS)) for each in asked)
    wait_until(lambda: len(cluster.loads()) == 1, SECONDS)
    assert is_right(rerank(cluster))


def test_limits_of_a_key_count_on_all_replicas_together(cluster: RayCluster, redis_server: RedisServer) -> None:
    keys = cluster.folder / "keys-of-this-test.toml"
    keys.write_text(f'[[key]]\nname = "under-ray"\nsha256 = "{key_hash("under-ray")}"\nrequests_per_minute = 6\n')
    shared = {
        "RERANK_KEYS_FILE": str(keys),
        "RERANK_ADMIN_KEY": "operator",
        "RERANK_STATE_URL": redis_server.url,
    }
    cluster.deploy(replicas=2, server=GATED, settings=shared)
    # so that queries that differ meet both
    load, operator = f"{cluster.url}/v1/models/{MODEL.id}/load?replicas=all", {"Authorization": "Bearer operator"}
    assert len(requests.post(load, headers=operator, timeout=SECONDS).json()["replicas"]) == 2
    given = {"Authorization": "Bearer under-ray"}
    with ThreadPoolExecutor(8) as callers:
        asked = [callers.submit(rerank, cluster, given, query=f"{QUERY} {number}") for number in range(16)]
        answers = [each.result(SECONDS) for each in asked]
    assert Counter(answer.status_code for answer in answers) == {200: 6, 429: 10}
