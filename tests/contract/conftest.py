from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.support.tiny_checkpoints import make_xlm_roberta
from tests.support.whole import whole_app

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
    """The whole server on a CPU."""
    app = whole_app(
        models_dir=models_dir,
        models_file=models_dir / "models.toml",
        default_model=MODEL,
        model_device="cpu",
        model_precision="fp32",
        strict_vllm=strict,
    )
    with TestClient(app) as client:
        yield client
