"""A model breaks on its way into memory."""

from __future__ import annotations

import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from httpx2 import Response

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.devices import Device
from rerank.errors import WeightsBroken
from rerank.registry.fleet import Fleet
from tests.service.conftest import OpenApp
from tests.support.app import MODEL, OTHER_MODEL, PATIENCE, AppUnderTest, indices

from .aftermath import SECRET, assert_out_of_order, assert_ready, assert_well, refused
from .conftest import OpenServer


class Loads:
    """Loads of ``MODEL`` wait, and then fail for as long as ``error`` is set; other models load at once."""

    app: AppUnderTest

    def __init__(self, error: Exception) -> None:
        self.error: Exception | None = error
        self.begun = threading.Event()
        self.may_end = threading.Event()

    def __call__(self, card: ModelCard) -> LoadedModel:
        if card.id == MODEL.id:
            self.begun.set()
            assert self.may_end.wait(PATIENCE)
            if self.error:
                raise self.error
        return self.app.loaded(card)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (WeightsBroken("words/model.safetensors is cut short"), "words/model.safetensors is cut short"),
        (RuntimeError(SECRET), "Loading the model failed; the server's log says why."),
    ],
    ids=["known", "unexpected"],
)
def test_a_load_that_fails_half_way(
    open_app: OpenApp, error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    loads = Loads(error)
    # either model alone takes all the room there is
    app = loads.app = open_app(load=loads, budget=100, sizes={MODEL.id: 100, OTHER_MODEL.id: 100})
    assert app.client.get("/ready").status_code == 503
    waiting = [app.rerank_meanwhile() for _ in range(3)]
    assert loads.begun.wait(PATIENCE)
    assert app.client.get("/ready").json()["missing"] == ["acme/words is loading"]
    loads.may_end.set()

    assert {refused(request.result(PATIENCE), 503) for request in waiting} == {said}
    assert str(error) in caplog.text
    assert indices(app.rerank(model=OTHER_MODEL.id)) == [1, 0, 2]
    ready: Response = app.client.get("/ready")
    assert (ready.status_code, ready.json()["missing"]) == (503, [f"acme/words is absent: {said}"])
    assert app.client.get("/health").status_code == 200

    loads.error = None
    assert app.rerank().status_code == 200
    assert_well(app)


def test_the_owner_of_the_models_dies(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loads = Loads(WeightsBroken("unused"))
    loads.error = None
    app = loads.app = open_app(load=loads)
    waiting = app.rerank_meanwhile()
    assert loads.begun.wait(PATIENCE)

    def fail(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr(Fleet, "handle", fail)
    why = "the model registry crashed; restart the server"
    assert why in refused(app.rerank(model=OTHER_MODEL.id), 503)
    assert why in refused(waiting.result(PATIENCE), 503)
    assert_out_of_order(app, why)
    assert SECRET in caplog.text
    loads.may_end.set()


def test_memory_that_runs_out_while_weights_are_read(
    open_server: OpenServer,
    tiny: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(tiny, tmp_path / "models" / "sound")
    client = open_server(default_model="sound")
    body = {"query": "what is machine learning?", "documents": ["Machine learning is a branch of AI"]}
    read: list[weakref.ref[object]] = []

    def run_out(make_network: Callable[[torch.dtype], object], device: Device) -> None:
        network = make_network(device.dtype)
        read.append(weakref.ref(network))
        raise RuntimeError(f"DefaultCPUAllocator: can't allocate memory ({SECRET})")

    with monkeypatch.context() as small:
        small.setattr("rerank.runtimes.torch_padded.TorchRuntime", run_out)
        message = refused(client.post("/v1/rerank", json=body), 503)
    assert message.startswith("sound cannot be loaded now: memory ran out.")
    assert "DefaultCPUAllocator" in caplog.text
    assert [network() for network in read] == [None]
    assert client.get("/v1/models/sound").json()["state"] == "absent"
    assert client.get("/health").status_code == 200

    assert client.post("/v1/rerank", json=body).status_code == 200
    assert_ready(client)
