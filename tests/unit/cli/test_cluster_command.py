"""`rerank cluster`, without Ray."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from rerank.cli.main import main
from rerank.cluster import running
from rerank.cluster.options import ClusterOptions, cluster_settings, read_options
from rerank.errors import SettingsError


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ClusterOptions, str | None]]:
    """What was asked to run."""
    asked: list[tuple[ClusterOptions, str | None]] = []
    monkeypatch.setattr(running, "run_cluster", lambda *given: asked.append(given))
    return asked


def test_options_of_the_cluster_and_settings_of_the_server_are_told_apart(
    ran: list[tuple[ClusterOptions, str | None]],
) -> None:
    arguments = "cluster --replicas 2 --max-replicas 4 --target-backlog 2.5 --port 9000 --address auto"
    assert main(arguments.split()) == 0
    ((options, address),) = ran
    assert (options.replicas, options.bounds, options.target_backlog, address) == (2, (1, 4), 2.5, "auto")
    assert dict(options.settings) == {"rerank_port": "9000"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--replicas", "0"], "replicas"),
        (["--replicas", "9", "--max-replicas", "2"], "max_replicas (2)"),
        (["--port", "none"], "PORT"),
    ],
)
def test_a_wrong_option_stops_before_ray_is_started(
    ran: list[tuple[ClusterOptions, str | None]], capsys: pytest.CaptureFixture[str], arguments: list[str], named: str
) -> None:
    assert main(["cluster", *arguments]) == 2
    assert named in capsys.readouterr().err
    assert not ran


@pytest.mark.parametrize("port", ["taken", "0"])
def test_a_port_that_cannot_be_had_is_said_before_ray_is_started(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    def started(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(running, "start_ray", started)
    monkeypatch.setattr(running, "configure_logging", lambda *_: None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = port if port == "0" else str(listening.getsockname()[1])
        with pytest.raises(SettingsError, match="RERANK_PORT"):
            running.run_cluster(read_options({"settings": {"RERANK_PORT": number, "RERANK_HOST": "127.0.0.1"}}), None)


@pytest.mark.parametrize(
    ("keys", "host"),
    [
        ({}, "127.0.0.1"),
        ({"RERANK_ADMIN_KEY": "only-admins"}, "127.0.0.1"),
        ({"RERANK_API_KEY": "one-for-everybody"}, "0.0.0.0"),
    ],
    ids=["no key", "a key for admins alone", "a key for all"],
)
def test_other_machines_are_served_only_if_scoring_needs_a_key(
    monkeypatch: pytest.MonkeyPatch, keys: dict[str, str], host: str
) -> None:
    asked: list[dict[str, Any]] = []
    serve = SimpleNamespace(start=lambda **given: asked.append(given["http_options"]), run=lambda *_, **__: None)
    monkeypatch.setattr(running, "needed", fake_ray(serve, lambda: asked[-1]).__getitem__)
    monkeypatch.setattr(running, "bound", lambda *_: None)
    options = read_options({"settings": keys})
    running.deploy(options, cluster_settings(options))
    assert [options["host"] for options in asked] == [host]


def test_an_address_that_ray_serve_will_not_take_any_more_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = SimpleNamespace(start=lambda **_: None)
    before = {"host": "127.0.0.1", "port": 8000}
    monkeypatch.setattr(running, "needed", fake_ray(serve, lambda: before).__getitem__)
    options = read_options({"settings": {"RERANK_PORT": "9000"}})
    with pytest.raises(SettingsError, match=re.escape("127.0.0.1:9000 cannot be had")) as refused:
        running.deploy(options, cluster_settings(options))
    assert "on 127.0.0.1:8000" in str(refused.value)


def fake_ray(serve: SimpleNamespace, listens: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Modules of Ray by name. ``listens``: host and port of Ray Serve."""
    client = SimpleNamespace(_get_global_client=lambda: SimpleNamespace(http_config=SimpleNamespace(**listens())))
    return {
        "ray.serve": serve,
        "ray.serve.context": client,
        "ray.exceptions": SimpleNamespace(RayError=KeyError),
    }
