"""The image's health check asks a real server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from rerank.cli.main import main
from tests.process.server import ROOT, clean_environment
from tests.support.app import AppUnderTest, LiveServer

from .conftest import Serve


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "RERANK_HOST", "PORT", "RERANK_PORT"):
        monkeypatch.delenv(name, raising=False)


def health_check() -> list[str]:
    """The command in the Dockerfile."""
    found = re.search(r"^HEALTHCHECK .*\\\n\s+CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    command: list[str] = json.loads(found[1])
    return command


@pytest.mark.parametrize(
    "names", [{"PORT": "{port}"}, {"PORT": "9", "RERANK_PORT": "{port}"}, {"HOST": "0.0.0.0", "PORT": "{port}"}]
)
def test_the_images_check_asks_the_port_that_is_listened_on_and_no_proxy(
    serve: Serve, tmp_path: Path, names: dict[str, str]
) -> None:
    _, server = serve()
    python, *arguments = health_check()
    assert python == "python"
    environment = clean_environment(tmp_path) | {name: value.format(port=server.port) for name, value in names.items()}
    del environment["NO_PROXY"]
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment | proxies,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, '200 \'{"status":"ok"}\'\n'), done.stderr


def test_what_is_wrong_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with AppUnderTest(tmp_path / "models") as app, LiveServer(app.asgi) as server:
        app.scheduler.stop()
        monkeypatch.setenv("PORT", str(server.port))
        assert main(["health"]) == 1
    assert capsys.readouterr().out.startswith("503 ")


def test_no_server_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        monkeypatch.setenv("PORT", str(closed.getsockname()[1]))
    assert main(["health"]) == 3
    assert "no server answers on port" in capsys.readouterr().err


def test_a_wrong_setting_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "http")
    assert main(["health"]) == 2
    assert "PORT" in capsys.readouterr().err
