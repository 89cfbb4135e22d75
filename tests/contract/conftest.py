from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from rerank.server import build
from rerank.settings import Settings, setting_names
from tests.support.tiny_checkpoints import make_xlm_roberta

MODEL = "tiny-xlm-roberta"
POSITIONS = 514


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_xlm_roberta(folder / MODEL, positions=POSITIONS, limit_in_tokenizer=False)
    (folder / "models.toml").touch()
    return folder


@pytest.fixture(scope="session", params=[False, True], ids=["usual", "strict"])
def strict(request: pytest.FixtureRequest) -> bool:
    """Whether the server is to answer as vLLM to the letter."""
    wanted: bool = request.param
    return wanted


@pytest.fixture(scope="session")
def client(models_dir: Path, strict: bool) -> Iterator[TestClient]:
    """The whole server as an operator starts it, on a CPU; only its logging is left to pytest."""
    arguments: dict[str, Any] = {
        "rerank_models_dir": models_dir,
        "rerank_models_file": models_dir / "models.toml",
        "rerank_default_model": MODEL,
        "rerank_model_device": "cpu",
        "rerank_model_precision": "fp32",
        "rerank_strict_vllm": strict,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in (name for names in setting_names().values() for name in names):
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        patch.setattr(build, "configure_logging", lambda *_: None)
        app = build.app_from_settings(Settings(_env_file=None, **arguments))
    with TestClient(app) as client:
        yield client
