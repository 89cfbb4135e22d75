"""Who watches whom: a thread the event loop, which stands still and answers nobody; the event loop the devices."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rerank import engine
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.telemetry import loop_watch

from .aftermath import assert_ready
from .conftest import OpenServer

PATIENCE = 30.0
ASKED = {"query": "what is machine learning?", "documents": ["Machine learning is a branch of AI", "the giant panda"]}


class Told(logging.Handler):
    """What the watch says of one mistake; a busy machine may give it more to say."""

    def __init__(self, mistake: str) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.stands = threading.Event()
        self.turns = threading.Event()
        self._mistake = mistake

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self.stands.is_set() and not self.turns.is_set():
            self.messages.append(message)
            self.turns.set()
        elif f"in {self._mistake}" in message:
            self.messages.append(message)
            self.stands.set()


def test_an_event_loop_that_stands_still(
    open_server: OpenServer, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_watch, "_INTERVAL", 0.01)
    shutil.copytree(tiny, tmp_path / "models" / "sound")
    client = open_server(default_model="sound")
    assert client.post("/v1/rerank", json=ASKED).status_code == 200
    # not before: the first load keeps a small machine busy
    monkeypatch.setattr(loop_watch, "_PATIENCE", 0.2)
    told = Told("somebodys_mistake")
    loop_watch.logger.addHandler(told)

    def somebodys_mistake() -> None:
        assert told.stands.wait(PATIENCE)

    assert client.portal
    with ThreadPoolExecutor(2) as callers:
        standing = callers.submit(client.portal.call, somebodys_mistake)
        meanwhile = callers.submit(client.post, "/v1/rerank", json=ASKED)
        standing.result(PATIENCE)
        assert meanwhile.result(PATIENCE).status_code == 200
    assert told.turns.wait(PATIENCE)
    loop_watch.logger.removeHandler(told)

    stands, turns = told.messages
    assert stands.startswith("the event loop was blocked for 0.2 s at:\n")
    assert re.fullmatch(r"the event loop recovered after \d+\.\d s", turns)
    assert_ready(client)
    delays = re.search(r"^rerank_event_loop_delay_seconds_sum (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert delays
    assert float(delays[1]) >= 0.2


@pytest.mark.parametrize(("timeout", "patience"), [(300, 300), (5, 60)])
def test_the_event_loop_looks_after_the_devices(
    open_server: OpenServer, monkeypatch: pytest.MonkeyPatch, timeout: float, patience: float
) -> None:
    looked = threading.Event()
    patiences: list[float] = []

    class Watched(Scheduler):
        def __init__(self, *devices: DeviceSpec, patience: float) -> None:
            patiences.append(patience)
            super().__init__(*devices, patience=patience)

        def look(self) -> None:
            super().look()
            looked.set()

    monkeypatch.setattr(engine, "Scheduler", Watched)
    monkeypatch.setattr(engine, "_WATCH_SECONDS", 0.01)
    open_server(timeout=timeout)
    assert looked.wait(PATIENCE)
    assert patiences == [patience]
