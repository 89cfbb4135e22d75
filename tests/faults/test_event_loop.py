"""The event loop stands still: nobody is answered, and the log says where it stands."""

from __future__ import annotations

import logging
import re
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rerank.telemetry import loop_watch

from .aftermath import assert_ready
from .conftest import OpenServer

PATIENCE = 30.0
ASKED = {"query": "what is machine learning?", "documents": ["Machine learning is a branch of AI", "the giant panda"]}


class Told(logging.Handler):
    """What the watch says."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.stands = threading.Event()
        self.turns = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        (self.turns if self.stands.is_set() else self.stands).set()


def test_an_event_loop_that_stands_still(
    open_server: OpenServer, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_watch, "_INTERVAL", 0.01)
    shutil.copytree(tiny, tmp_path / "models" / "sound")
    client = open_server(default_model="sound")
    assert client.post("/v1/rerank", json=ASKED).status_code == 200
    # not before: the first load keeps a small machine busy
    monkeypatch.setattr(loop_watch, "_PATIENCE", 0.2)
    told = Told()
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

    stands, turns = told.messages[:2]
    assert stands.startswith("the event loop has stood still for 0.2 s, at:\n")
    assert "in somebodys_mistake" in stands
    assert re.fullmatch(r"the event loop turns again; it stood still for \d+\.\d s", turns)
    assert_ready(client)
    delays = re.search(r"^rerank_event_loop_delay_seconds_sum (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert delays
    assert float(delays[1]) >= 0.2
