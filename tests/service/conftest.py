from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient

from rerank.telemetry import configure_logging

from .house import AccessLog, House, LiveServer

OpenHouse = Callable[..., House]
Serve = Callable[..., tuple[House, LiveServer]]


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house as most tests need it; they leave nothing behind in it."""
    with House(tmp_path_factory.mktemp("models")) as shared:
        yield shared


@pytest.fixture
def client(house: House) -> Iterator[TestClient]:
    yield house.client
    house.client.cookies.clear()


@pytest.fixture
def open_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenHouse]:
    """Opens a house of one's own; takes what ``House`` takes."""
    with ExitStack() as houses:
        yield lambda *args, **options: houses.enter_context(
            House(tmp_path_factory.mktemp("models"), *args, **options),
        )


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The same behind a real socket."""
    with ExitStack() as servers:

        def start(*args: object, **options: object) -> tuple[House, LiveServer]:
            house = House(tmp_path_factory.mktemp("models"), *args, **options)  # type: ignore[arg-type]
            server = servers.enter_context(LiveServer(house.app))
            servers.callback(house.release)
            return house, server

        yield start


@pytest.fixture
def access_log() -> Iterator[AccessLog]:
    handler = AccessLog()
    logger = logging.getLogger("rerank.access")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture
def server_log() -> Iterator[io.StringIO]:
    """The log as an operator sees it, at its most talkative."""
    root = logging.getLogger()
    before = root.handlers, root.level
    loggers = [logger for logger in root.manager.loggerDict.values() if isinstance(logger, logging.Logger)]
    states = [(logger, logger.level, logger.handlers, logger.propagate, logger.disabled) for logger in loggers]
    stream = io.StringIO()
    configure_logging("debug", "text", stream)
    yield stream
    root.handlers, root.level = before
    for logger, level, handlers, propagate, disabled in states:
        logger.setLevel(level)
        logger.handlers, logger.propagate, logger.disabled = handlers, propagate, disabled
