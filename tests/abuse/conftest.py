"""Servers to attack."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.process.server import ServerProcess
from tests.support.kept import convert
from tests.support.tiny_checkpoints import make_xlm_roberta

MODEL = "tiny"
StartServer = Callable[..., ServerProcess]


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with one checkpoint of random weights, ``MODEL``; not to be written to."""
    folder = tmp_path_factory.mktemp("models")
    make_xlm_roberta(folder / MODEL)
    convert(folder, MODEL)
    return folder


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory, tiny_models: Path) -> Iterator[StartServer]:
    """Starts a real server with the settings given, which answers with ``MODEL``; it is stopped after the module."""
    with ExitStack() as running:

        def start(**settings: str) -> ServerProcess:
            given = {"RERANK_MODELS_DIR": str(tiny_models), "RERANK_DEFAULT_MODEL": MODEL} | settings
            return running.enter_context(ServerProcess(tmp_path_factory.mktemp("server"), given))

        yield start
