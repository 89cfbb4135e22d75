"""Memory that a model took comes back when it leaves."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import psutil
import pytest
import requests

from tests.process.server import ServerProcess

pytestmark = pytest.mark.usefixtures("converted")

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
ASKED = {"query": "what is machine learning?", "documents": ["Machine learning is a branch of AI", "the giant panda"]}


def test_ten_loads_and_unloads_leave_memory_as_it_was(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"MODEL_PRECISION": "fp32"}) as server:

        def come_and_go() -> int:
            requests.post(f"{server.url}/v1/rerank", json=ASKED, timeout=60).raise_for_status()
            requests.post(f"{server.url}/v1/models/{MODEL}/unload", timeout=60).raise_for_status()
            return psutil.Process(server.pid).memory_info().rss

        # the first time brings the libraries in, and converts; they stay
        come_and_go()
        rests = [come_and_go() for _ in range(10)]
        held = psutil.Process(server.pid).memory_info().rss
        requests.post(f"{server.url}/v1/rerank", json=ASKED, timeout=60).raise_for_status()
        loaded = psutil.Process(server.pid).memory_info().rss

    # medians, because what is left over sways by ten megabytes; a model that stays has ninety
    assert median(rests[-3:]) <= median(rests[:3]) + 20e6
    # and there was something to come back
    assert loaded - held > 50e6
