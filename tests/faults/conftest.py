from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rerank.server import build
from rerank.settings import Settings, setting_names
from tests.service.conftest import access_log, open_app, serve

__all__ = ["access_log", "open_app", "serve"]

OpenServer = Callable[..., TestClient]


@pytest.fixture
def open_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenServer]:
    """Opens the whole server as an operator starts it, on a CPU, with ``models/`` in the test's own folder."""
    for name in (name for names in setting_names().values() for name in names):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    # logging is left to pytest
    monkeypatch.setattr(build, "configure_logging", lambda *_: None)
    with ExitStack() as servers:

        def start(**settings: Any) -> TestClient:
            usual = {"models_dir": tmp_path / "models", "model_device": "cpu", "model_runtime": "torch"}
            arguments: dict[str, Any] = {f"rerank_{name}": value for name, value in (usual | settings).items()}
            app = build.app_from_settings(Settings(_env_file=None, rerank_model_precision="fp32", **arguments))
            # a client on the server's own machine, which may administer
            return servers.enter_context(TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)))

        yield start
