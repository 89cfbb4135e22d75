from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.service.conftest import access_log, open_app, serve
from tests.support.whole import whole_app

__all__ = ["access_log", "open_app", "serve"]

OpenServer = Callable[..., TestClient]


@pytest.fixture
def open_server(tmp_path: Path) -> Iterator[OpenServer]:
    """Opens the whole server on a CPU, with ``models/`` in the test's own folder."""
    with ExitStack() as servers:

        def start(**settings: Any) -> TestClient:
            usual = {"models_dir": tmp_path / "models", "model_device": "cpu", "model_runtime": "torch"}
            app = whole_app(**usual | {"model_precision": "fp32"} | settings)
            # a client on the server's own machine, which may administer
            return servers.enter_context(TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)))

        yield start
