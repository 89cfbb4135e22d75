"""Ray, where it is not installed."""

from __future__ import annotations

import os
import sys

import pytest

from rerank.cluster.needs import needed
from rerank.errors import SettingsError


def test_a_missing_package_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    # which a test before may have imported
    monkeypatch.delitem(sys.modules, "ray.serve", raising=False)
    with pytest.raises(SettingsError, match=r"package ray is not installed.*rerank-gateway\[ray\].*make ray"):
        needed("ray.serve")


def test_statistics_for_rays_makers_are_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(SettingsError):
        needed("ray")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED")
