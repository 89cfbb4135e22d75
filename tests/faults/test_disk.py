"""The disk fills up, or what lies on it is not what was written. The whole server, with real weights."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.support.fake_hub import FakeHub

from .aftermath import assert_ready, refused
from .conftest import OpenServer

ASKED = {"query": "what is machine learning?", "documents": ["Machine learning is a branch of AI", "the giant panda"]}
FETCHED = "org/fetched"


def rerank(client: TestClient, model: str | None = None) -> Any:
    return client.post("/v1/rerank", json=ASKED | {"model": model})


class FullDisk:
    """A file on a disk that takes a hundred bytes more."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> None:
        self._file.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device", self._file.name)


def test_a_disk_that_fills_up_during_a_download(
    open_server: OpenServer, hub: FakeHub, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny, models / "sound")
    hub.add_folder(FETCHED, tiny)
    (tmp_path / "models.toml").write_text(f'[[model]]\nid = "{FETCHED}"\nrepo = "{FETCHED}"\n')
    client = open_server(default_model="sound", models_file=tmp_path / "models.toml", hf_endpoint=hub.url)
    plain_open = Path.open

    def open_on_full_disk(path: Path, mode: str = "r", **options: Any) -> Any:
        file = plain_open(path, mode, **options)
        return FullDisk(file) if path.name.startswith("model.safetensors.") and mode != "rb" else file

    with monkeypatch.context() as full:
        full.setattr(Path, "open", open_on_full_disk)
        response = rerank(client, FETCHED)

    message = refused(response, 503)
    assert f"filled up while {FETCHED} was fetched, which needs 50 MB more: make room" in message
    assert str(tmp_path) not in response.text
    assert not (models / "fetched").exists()
    assert rerank(client).status_code == 200
    assert_ready(client)
    assert client.get("/ready", params={"model": FETCHED}).json()["missing"] == [f"{FETCHED} is absent"]

    # there is room again
    assert rerank(client, FETCHED).json()["results"] == rerank(client).json()["results"]
    assert set(hub.ranges) == {"bytes=100-"}
    assert not (models / ".incomplete" / "fetched").exists()
    assert client.get("/ready", params={"model": FETCHED}).status_code == 200


def test_a_converted_network_that_is_corrupt(
    open_server: OpenServer, tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    models = tmp_path / "models"
    shutil.copytree(tiny, models / "sound")
    client = open_server(default_model="sound", model_runtime="openvino")
    first = rerank(client).json()["results"]
    assert client.post("/v1/models/sound/unload").json()["state"] == "absent"
    (network,) = models.glob(".openvino/*/model.bin")
    network.write_bytes(bytes(network.stat().st_size))

    response = rerank(client)

    assert response.json()["results"] == first
    assert "cannot be read and is converted again" in caplog.text
    assert_ready(client)
    (made_anew,) = models.glob(".openvino/*/model.bin")
    assert any(made_anew.read_bytes())
