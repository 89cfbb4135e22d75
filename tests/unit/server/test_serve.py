from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys

import pytest
import uvicorn

from rerank import garbage
from rerank.access.keyring import Keyring, Keys
from rerank.catalog.catalog import Catalog
from rerank.server import serve
from rerank.server.build import Prepared
from rerank.server.serve import _Server
from rerank.settings import Settings
from rerank.telemetry.metrics import Metrics


class LeftError(BaseException):
    """The process would have ended here."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> _Server:
    def leave(status: int) -> None:
        raise LeftError(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    settings = Settings(_env_file=None)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    return _Server(Prepared(settings, catalog, (), Keyring(Keys({}, guarded=False)), Metrics(), None), "127.0.0.1")


def test_the_first_signal_only_asks_to_stop(server: _Server) -> None:
    server.handle_exit(signal.SIGTERM, None)

    assert server.should_exit


def test_the_second_one_leaves_with_its_number(server: _Server) -> None:
    server.handle_exit(signal.SIGTERM, None)

    with pytest.raises(LeftError, match="130"):
        server.handle_exit(signal.SIGINT, None)


def test_it_leaves_though_a_log_line_is_being_written(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def reentrant() -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    monkeypatch.setattr(logging, "shutdown", reentrant)
    server.handle_exit(signal.SIGTERM, None)

    with pytest.raises(LeftError, match="143"):
        server.handle_exit(signal.SIGTERM, None)


def test_what_hastens_a_start_ends_when_the_server_listens(server: _Server, monkeypatch: pytest.MonkeyPatch) -> None:
    async def listen(*_: object) -> None:
        seen.extend([gc.isenabled(), sys.getswitchinterval()])

    seen: list[object] = []
    interval = sys.getswitchinterval()
    monkeypatch.setattr(uvicorn.Server, "startup", listen)
    monkeypatch.setattr(garbage, "spare_what_is_there", lambda: seen.append("spared"))
    serve._hasten()

    asyncio.run(server.startup())

    assert seen == [False, pytest.approx(0.0005), "spared"]
    assert gc.isenabled()
    assert sys.getswitchinterval() == interval
