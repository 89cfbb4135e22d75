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
from tests.support.steady_load import SteadyLoad
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
    assert [answer.status_code for answer in load.wrong] == []
