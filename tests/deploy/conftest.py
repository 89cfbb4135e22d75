"""Releases of the chart with the values of the examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.manifests import EXAMPLES, NEEDED, Manifest, rendered

_EVERYTHING = Path(__file__).with_name("everything.yaml")
VALUES = {
    "defaults": (),
    **{file.stem: (str(file),) for file in sorted(EXAMPLES.glob("*.yaml"))},
    "everything": (str(_EVERYTHING),),
}


@pytest.fixture(params=VALUES)
def release(request: pytest.FixtureRequest) -> tuple[Manifest, ...]:
    """Each in turn."""
    return rendered(*NEEDED, *VALUES[request.param])


@pytest.fixture
def everything() -> tuple[Manifest, ...]:
    """With every option."""
    return rendered(*NEEDED, *VALUES["everything"])
