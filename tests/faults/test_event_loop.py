"""Who watches whom: a thread the event loop, the event loop the devices."""

from __future__ import annotations

import re
import threading

import pytest
from fastapi.testclient import TestClient

from rerank import engine
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from tests.support.waiting import PATIENCE, wait_until

from .conftest import OpenServer


def delays(client: TestClient) -> float:
    found = re.search(r"^rerank_event_loop_delay_seconds_count (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found
    return float(found[1])


def test_the_delay_of_the_event_loop_is_measured(open_server: OpenServer) -> None:
    client = open_server()
    wait_until(lambda: delays(client) > 0)


class Watched(Scheduler):
    """Tells how it was made, and that `look` was called."""

    patiences: list[float]
    looked: threading.Event

    def __init__(self, *devices: DeviceSpec, patience: float) -> None:
        self.patiences.append(patience)
        super().__init__(*devices, patience=patience)

    def look(self) -> None:
        super().look()
        self.looked.set()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> type[Watched]:
    Watched.patiences, Watched.looked = [], threading.Event()
    monkeypatch.setattr(engine, "Scheduler", Watched)
    return Watched


def test_the_event_loop_looks_after_the_devices(open_server: OpenServer, watched: type[Watched]) -> None:
    open_server()
    assert watched.looked.wait(PATIENCE)


@pytest.mark.parametrize(("timeout", "patience"), [(300, 300), (5, 60)])
def test_a_device_has_as_long_as_a_request_and_a_minute_at_least(
    open_server: OpenServer, watched: type[Watched], timeout: float, patience: float
) -> None:
    open_server(timeout=timeout)
    assert watched.patiences == [patience]
