"""Clusters of several machines, each a `ray start` of its own on this one, and what happens when one is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.app import MODEL
from tests.support.local_cluster import cards_file
from tests.support.ray_cluster import RayCluster
from tests.support.ray_node import RayNode
from tests.support.redis_server import RedisServer
from tests.support.steady_load import SteadyLoad, asking, is_right
from tests.support.waiting import wait_until

SECONDS = 200
WORDS = "tests.support.cluster_server:words"
PROBES = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "2000"}
"""Of the head: a machine that is silent counts as lost after 15 s, not after a minute."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    cards_file(tmp_path)
    return tmp_path


@pytest.mark.parametrize("lose", [RayNode.lose, RayNode.freeze], ids=["no power", "silent"])
def test_a_lost_machine_loses_no_request_and_answers_none_wrong(folder: Path, lose: Callable[[RayNode], None]) -> None:
    options: dict[str, Any] = {"server": WORDS, "num_cpus": 1, "ingresses": 4}
    with (
        RayNode(folder, cpus=1, environment=PROBES) as first,
        RayCluster(folder, first.environment, first.address) as cluster,
        requests.Session() as session,
    ):
        cluster.deploy(replicas=1, **options)

        def replicas() -> int:
            return len(session.get(f"{cluster.url}/load", timeout=SECONDS).json()["replicas"])

        # these connections are to the proxy of the first machine, the only one yet
        assert replicas() == 1
        with SteadyLoad(cluster.url, MODEL.id, 8) as load, RayNode(folder, cpus=1, head=first) as second:
            cluster.deploy(replicas=2, **options)
            wait_until(lambda: replicas() == 2, SECONDS)
            session.post(f"{cluster.url}/v1/models/{MODEL.id}/load?replicas=all", timeout=SECONDS).raise_for_status()
            lose(second)
            wait_until(lambda: replicas() == 1, SECONDS)
            with RayNode(folder, cpus=1, head=first):
                wait_until(lambda: replicas() == 2, SECONDS)
    assert load.right
    assert ([answer.status_code for answer in load.wrong], load.broken) == ([], 0)


def test_without_its_head_a_cluster_answers_until_ray_ends_and_can_be_started_again(folder: Path) -> None:
    # a minute where nothing is said
    with RayCluster(folder, {"RAY_gcs_rpc_server_reconnect_timeout_s": "30"}) as cluster:
        cluster.deploy(replicas=2, server=WORDS, ingresses=2)
        with requests.Session() as session:
            ask = asking(session, cluster.url, MODEL.id)
            assert is_right(ask())
            cluster.kill_head()
            answers = [ask() for _ in range(5)]
            assert all(map(is_right, answers))
        assert cluster.wait_for_end() != 0
    with RayCluster(folder) as again:
        again.deploy(replicas=1, server=WORDS)
        assert len(again.loads()) == 1


def test_a_lost_head_is_replaced_where_ray_keeps_its_state_in_redis(folder: Path, redis_server: RedisServer) -> None:
    kept = {"RAY_REDIS_ADDRESS": f"127.0.0.1:{redis_server.port}", "RAY_external_storage_namespace": folder.name}
    with (
        RayNode(folder, cpus=0, environment=kept) as first,
        RayNode(folder, cpus=2, head=first) as second,
        RayCluster(folder, first.environment, first.address) as cluster,
    ):
        cluster.deploy(replicas=2, server=WORDS, num_cpus=1, ingresses=2)
        with SteadyLoad(cluster.url, MODEL.id, 8) as load:
            wait_until(lambda: load.right > 0, SECONDS)
            first.lose()
            with RayNode(folder, cpus=0, lost=first):
                right = load.right
                wait_until(lambda: load.right > right, SECONDS)
                before = set(cluster.loads())
                second.kill("ray::ServeReplica:rerank:replicas")
                wait_until(lambda: len(set(cluster.loads()) - before) == 1, SECONDS)
    # a client whose connection was to the lost machine sees it break, once
    assert load.broken <= 8
    assert [answer.status_code for answer in load.wrong] == []
