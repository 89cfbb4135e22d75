"""Options of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from rerank.cluster.options import cluster_settings, read_options
from rerank.errors import SettingsError
from rerank.server import build

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("given", "bounds", "scales"),
    [
        ({}, (1, 1), False),
        ({"replicas": 3}, (3, 3), False),
        ({"max_replicas": 4}, (1, 4), True),
        ({"replicas": 2, "min_replicas": 2, "max_replicas": 4}, (2, 4), True),
        ({"replicas": 2, "min_replicas": 2}, (2, 2), False),
    ],
)
def test_bounds_follow_from_what_is_given(given: dict[str, Any], bounds: tuple[int, int], scales: bool) -> None:
    options = read_options(given)
    assert (options.bounds, options.scales) == (bounds, scales)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"replicas": 0}, "replicas"),
        ({"replicas": 5, "max_replicas": 4}, "max_replicas (4)"),
        ({"replicas": 1, "min_replicas": 2}, "min_replicas (2)"),
        ({"num_gpus": 0.5}, "num_gpus"),
        ({"target_backlog": float("nan")}, "target_backlog"),
        ({"replicsa": 2}, "replicsa"),
    ],
)
def test_a_wrong_option_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_options(given)
    assert named in str(refused.value)


def test_settings_are_those_given_with_absolute_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = cluster_settings(read_options({"settings": {"RERANK_PORT": "9000"}, "num_gpus": 2}))
    assert (settings.port, settings.models_dir, settings.device) == (9000, tmp_path / "models", "cuda")
    with pytest.raises(SettingsError, match="PORT"):
        cluster_settings(read_options({"settings": {"RERANK_PORT": "none"}}))


def test_a_server_starts_with_these_settings_where_there_are_no_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "configure_logging", lambda *_: None)
    build.app_from_settings(cluster_settings(read_options({"settings": {"RERANK_MODEL_DEVICE": "cpu"}})))
    (tmp_path / "keys.toml").touch()
    assert cluster_settings(read_options({})).keys_file == tmp_path / "keys.toml"


def test_the_example_file_is_one_that_ray_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = pytest.importorskip("ray.serve.schema")
    given = yaml.safe_load((ROOT / "examples" / "serve.yaml").read_text(encoding="utf-8"))
    deployed = schema.ServeDeploySchema(**given)
    (application,) = deployed.applications
    assert application.import_path == "rerank.cluster.application:application"
    options = read_options(application.args)
    assert options.bounds == (1, 4)
    monkeypatch.chdir(ROOT)
    assert cluster_settings(options).default_model == "sentence-transformers/all-MiniLM-L6-v2"
