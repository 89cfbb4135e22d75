"""What `rerank cluster` asks of its processes on SIGHUP, with a Ray that only answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rerank.cluster import reloading
from rerank.cluster.options import ClusterOptions, cluster_settings
from rerank.cluster.reloading import reload


class Unavailable(Exception):
    """As of Ray: no process of the deployment runs."""


class FakeServe:
    """Deployments, each with the answers of its processes."""

    DeploymentUnavailableError = Unavailable

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def get_deployment_handle(self, deployment: str, application: str) -> Any:
        def broadcast(method: str) -> Any:
            self.asked.append(f"{application}.{deployment}.{method}")
            return SimpleNamespace(results=lambda **_: self._results(deployment))

        return SimpleNamespace(broadcast=broadcast)

    def _results(self, deployment: str) -> Any:
        answers = self._answers[deployment]
        if isinstance(answers, Exception):
            raise answers
        return answers


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, Any]) -> FakeServe:
    serve = FakeServe(answers)
    monkeypatch.setattr(reloading, "needed", lambda _: serve)
    return serve


def test_replicas_are_asked_before_ingresses(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    serve = asked(monkeypatch, {"replicas": [True, True], "ingress": [True]})
    reload(ClusterOptions(), cluster_settings(ClusterOptions()))
    assert serve.asked == ["rerank.replicas.reload", "rerank.ingress.reload"]
    assert [record.getMessage() for record in caplog.records] == [
        "reloaded models and keys: replicas, all 2",
        "reloaded models and keys: ingress, all 1",
    ]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([True, False], "replicas, 1 of 2 (see its log)"),
        ([False, ValueError("lost"), ValueError("lost")], "replicas, 3 of 3 (ValueError: lost; see its log)"),
        (Unavailable("no replica"), "replicas, 1 of 1 (Unavailable: no replica)"),
        (TimeoutError("too slow"), "replicas, 1 of 1 (TimeoutError: too slow)"),
    ],
)
def test_processes_that_did_not_reload_are_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, answers: Any, said: str
) -> None:
    asked(monkeypatch, {"replicas": answers, "ingress": [True]})
    reload(ClusterOptions(), cluster_settings(ClusterOptions()))
    assert [record.getMessage() for record in caplog.records] == [f"reload failed, models and keys unchanged: {said}"]


@pytest.mark.parametrize("name", ["keys.toml", "models.toml"])
def test_a_file_that_has_come_or_gone_is_part_of_another_deployment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    serve = asked(monkeypatch, {})
    file = folder / name
    without = cluster_settings(ClusterOptions())
    file.touch()
    reload(ClusterOptions(), without)
    deployed = cluster_settings(ClusterOptions())
    file.unlink()
    reload(ClusterOptions(), deployed)
    said = [record.getMessage().partition(name.partition(".")[0].upper())[2] for record in caplog.records]
    assert said == [
        f"_FILE: {file} is new; start the cluster again if that is meant",
        f"_FILE: there is no {file} any more; start the cluster again if that is meant",
    ]
    assert not serve.asked


def test_a_wrong_setting_leaves_all_as_it_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    serve, deployed = asked(monkeypatch, {}), cluster_settings(ClusterOptions())
    (folder / ".env").write_text("RERANK_TIMEOUT=soon\n", encoding="utf-8")
    reload(ClusterOptions(), deployed)
    assert "models and keys unchanged: " in caplog.text
    assert not serve.asked
