"""`rerank ps` asks a real server."""

from __future__ import annotations

import io
import socket
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rerank.cli import ps
from rerank.cli.main import main
from rerank.cli.terminal import CommandFailed
from tests.support.app import MODEL, OTHER_MODEL
from tests.support.settings import forget_settings

from .conftest import Serve


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_settings(monkeypatch, tmp_path)


@pytest.mark.parametrize("options", [(), ("--all",)], ids=["in memory", "all"])
def test_prints_a_line_for_each_model(
    serve: Serve, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    _, server = serve(sizes={MODEL.id: 1_200_000_000})
    server.post("/v1/rerank", {"query": "q", "documents": ["d"]})
    assert main(["ps", *options, "--url", f"http://127.0.0.1:{server.port}/"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [line.rstrip() for line in printed]
    lines = {line.split()[0]: line.split() for line in printed}
    assert lines["model"] == ["model", "state", "memory", "device", "precision", "runtime", "load", "last", "used"]
    assert lines[MODEL.id][1:9] == ["ready", "1.2", "GB", "cpu", "fp32", "none", "0.0", "s"]
    if options:
        assert lines[OTHER_MODEL.id][1:] == ["absent", "-", "-", "-", "-", "-", "-"]
    else:
        assert [*lines] == ["model", MODEL.id]


def test_tells_that_no_model_is_in_memory(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    app, server = serve()
    known = len(app.client.get("/v1/models").json()["data"])
    assert main(["ps", "--url", f"http://127.0.0.1:{server.port}"]) == 0
    assert capsys.readouterr().out == (
        f"No model is in memory or on its way there. The server knows {known}; --all shows them.\n"
    )


@pytest.mark.parametrize(
    ("model", "active"),
    [
        ({"state": "absent"}, False),
        ({"state": "absent", "download": None}, False),
        ({"state": "absent", "download": {"done": 1, "total": 2}}, True),
        ({"state": "loading"}, True),
        ({"state": "ready"}, True),
        ({"state": "draining"}, True),
    ],
)
def test_a_model_is_shown_while_it_is_in_memory_or_on_its_way_there(model: dict[str, Any], active: bool) -> None:
    assert ps._is_active(model) is active


@pytest.mark.parametrize("name", ["RERANK_API_KEY", "RERANK_ADMIN_KEY"])
def test_brings_the_key_of_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _, server = serve(keys=("a-secret-key",), admin_keys=("a-secret-key",))
    monkeypatch.setenv("PORT", str(server.port))
    assert main(["ps"]) == 1
    monkeypatch.setenv(name, "a-secret-key,another-key")
    assert main(["ps"]) == 0


def test_tells_that_a_key_is_missing(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    _, server = serve(keys=("a-secret-key",))
    assert main(["ps", "--url", f"http://127.0.0.1:{server.port}"]) == 1
    assert "answers 401: Unauthorized: send the API key" in capsys.readouterr().err


def test_tells_that_no_server_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert main(["ps", "--url", f"http://127.0.0.1:{port}"]) == 3
    assert f"no server answers at http://127.0.0.1:{port}" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_asks_no_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _, server = serve()
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("PORT", str(server.port))
    assert main(["ps"]) == 0


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_asks_where_the_server_listens(serve: Serve, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    _, server = serve()
    monkeypatch.setenv("HOST", host)
    monkeypatch.setenv("RERANK_PORT", str(server.port))
    monkeypatch.setenv("PORT", "9")
    assert main(["ps"]) == 0


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://"])
def test_tells_a_wrong_address(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps", "--url", url]) == 2
    assert "http://host:8000" in capsys.readouterr().err


def test_shows_names_as_they_are_and_escapes_what_a_terminal_would_obey() -> None:
    name = "[red]\x1b[31m机器"
    facts: dict[str, Any] = dict.fromkeys(("bytes", "device", "precision", "runtime", "load_seconds", "last_used"))
    card = facts | {"id": name, "state": "absent", "pinned": False}
    shown = io.StringIO()
    Console(file=shown, width=200).print(ps.table([card], 0.0))
    assert r"[red]\u001b[31m机器" in shown.getvalue()


@pytest.mark.parametrize(
    "card", [{"id": "x", "state": "ready"}, {"id": "x", "state": "ready", "pinned": 1, "bytes": {}}]
)
def test_tells_cards_of_another_kind(card: dict[str, Any]) -> None:
    with pytest.raises(CommandFailed, match="another version"):
        ps.table([card], 0.0)


def test_tells_a_wrong_setting(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "http")
    assert main(["ps"]) == 2
    assert "PORT" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "shown"), [(-3, "0 s"), (59, "59 s"), (60, "1 m"), (3600, "1 h"), (7200, "2 h"), (200_000, "2 d")]
)
def test_moments_are_told_by_their_distance(seconds: float, shown: str) -> None:
    card = {
        "id": "x",
        "state": "ready",
        "pinned": True,
        "bytes": 5,
        "bytes_measured": False,
        "device": None,
        "precision": None,
        "runtime": None,
        "load_seconds": None,
        "last_used": 1_000_000 - seconds,
    }
    cells = [str(next(iter(column.cells))) for column in ps.table([card], 1_000_000.0).columns]
    assert cells == ["x", "ready (pinned)", "about 5 B", "-", "-", "-", "-", f"{shown} ago"]
