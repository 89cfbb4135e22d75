from __future__ import annotations

import pytest


@pytest.fixture(params=["torch", "openvino", "packed"])
def runtime(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where networks run; packed is what CUDA takes, here with attention that a CPU has too."""
    if request.param == "packed":
        monkeypatch.setattr("rerank.scorers.networks.runs_packed", lambda _: True)
        return "torch"
    chosen: str = request.param
    return chosen
