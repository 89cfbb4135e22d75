"""The whole server as an operator starts it, within the test's own process; only its logging is left to pytest."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from rerank.server import build
from rerank.settings import Settings, setting_names
from tests.support.app import LiveServer
from tests.support.kept import share_kept_networks


def whole_app(**settings: Any) -> FastAPI:
    """The application with these settings, and none of the environment.

    It loads no model before it is asked, and downloads though the disk is nearly full.
    """
    usual = {"preload": "none", "min_free_disk": "0"}
    arguments: dict[str, Any] = {f"rerank_{name}": value for name, value in {**usual, **settings}.items()}
    with pytest.MonkeyPatch.context() as patch:
        for name in (name for names in setting_names().values() for name in names):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setattr(build, "configure_logging", lambda *_: None)
        return build.app_from_settings(Settings(_env_file=None, **arguments))


@contextmanager
def whole_server(folder: Path, **settings: Any) -> Iterator[str]:
    """The same on a socket, on a CPU unless told, with ``models/`` and models.toml in the folder; its address."""
    places = {"models_dir": folder / "models", "models_file": folder / "models.toml"}
    places["models_file"].touch()
    share_kept_networks(places["models_dir"])
    with LiveServer(whole_app(**places, **{"model_device": "cpu", **settings})) as live:
        yield f"http://127.0.0.1:{live.port}"
