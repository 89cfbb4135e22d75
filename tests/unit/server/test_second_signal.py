from __future__ import annotations

import logging
import os
import signal

import pytest
import uvicorn
from fastapi import FastAPI

from rerank.server.serve import _Server


class LeftError(BaseException):
    """The process would have ended here."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> _Server:
    def leave(status: int) -> None:
        raise LeftError(status)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(logging, "shutdown", lambda: None)
    return _Server(uvicorn.Config(FastAPI(), log_config=None), drain_seconds=100)


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
