from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from fastapi.testclient import TestClient

from rerank.telemetry import configure_logging
from tests.support.app import AccessLog, AppUnderTest, LiveServer

OpenApp = Callable[..., AppUnderTest]
Serve = Callable[..., tuple[AppUnderTest, LiveServer]]


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppUnderTest]:
    """A app as most tests need it; they leave nothing behind in it."""
    with AppUnderTest(tmp_path_factory.mktemp("models")) as shared:
        yield shared


@pytest.fixture
def client(app: AppUnderTest) -> Iterator[TestClient]:
    yield app.client
    app.client.cookies.clear()


@pytest.fixture
def open_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApp]:
    """Opens a app of one's own; takes what ``AppUnderTest`` takes."""
    with ExitStack() as apps:
        yield lambda *args, **options: apps.enter_context(
            AppUnderTest(tmp_path_factory.mktemp("models"), *args, **options),
        )


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """The same behind a real socket."""
    with ExitStack() as servers:

        def start(*args: object, **options: object) -> tuple[AppUnderTest, LiveServer]:
            app = AppUnderTest(tmp_path_factory.mktemp("models"), *args, **options)  # type: ignore[arg-type]
            server = servers.enter_context(LiveServer(app.asgi))
            servers.callback(app.release)
            return app, server

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
def server_log(restored_logging: None) -> io.StringIO:
    """The log as an operator sees it, at its most talkative."""
    stream = io.StringIO()
    configure_logging("debug", "text", stream)
    return stream
