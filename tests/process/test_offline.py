"""Without a network: what is on disk works, and what is not says what to do."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.process.no_network import TOLD
from tests.process.server import ROOT, ServerProcess, post, wait_for_half
from tests.support.fake_hub import FakeHub
from tests.support.kept import share_kept_networks
from tests.support.tiny_checkpoints import make_modernbert, make_qwen3, make_xlm_roberta

pytestmark = pytest.mark.usefixtures("converted")

ASKED = {"query": "What is the capital of France?", "documents": ["Berlin is big.", "Paris is the capital of France."]}
CUT_OFF = (str(ROOT / "tests/process/no_network.py"), str(ROOT / "rerank_server.py"), "--port", "0")
NAME = "org/reranker"


def test_a_server_with_its_weights_on_disk_opens_no_socket_but_its_own(tmp_path: Path) -> None:
    make_xlm_roberta(tmp_path / "models" / "encoder")
    make_qwen3(tmp_path / "models" / "yes-no")
    make_modernbert(tmp_path / "models" / "another")
    (tmp_path / "models.toml").write_text('[[model]]\nid = "acme/mine"\npath = "models/encoder"\n')

    with ServerProcess(tmp_path, {"RERANK_PRELOAD": "yes-no"}, command=CUT_OFF) as server:
        answers = [post(server, ASKED | {"model": name}) for name in ("", "acme/mine", "yes-no", "another")]
        pages = [requests.get(server.url + page, timeout=60) for page in ("/", "/v1/models", "/health", "/docs")]
        server.signal(signal.SIGHUP)
        server.wait_for_log("reloaded the models file")
        status = server.stop()

    assert [answer.status_code for answer in answers] == [200] * 4
    assert [page.status_code for page in pages] == [200] * 4
    assert status == 0
    assert not [line for line in server.log if TOLD in line]


def test_a_server_that_reaches_out_would_be_found_out(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"HF_ENDPOINT": "http://hub.invalid"}, command=CUT_OFF) as server:
        answer = post(server, ASKED | {"model": "bge-reranker-base"})

    assert answer.status_code == 503
    assert [line for line in server.log if f"{TOLD} socket.getaddrinfo ('hub.invalid'" in line]


def test_offline_mode_says_so_and_names_the_command_and_the_folder(tmp_path: Path, tiny: Path) -> None:
    shutil.copytree(tiny, tmp_path / "weights" / tiny.name)
    share_kept_networks(tmp_path / "weights")
    settings = {"HF_HUB_OFFLINE": "1", "RERANK_MODELS_DIR": "weights"}

    with ServerProcess(tmp_path, settings) as server:
        missing = post(server, ASKED | {"model": "BAAI/bge-reranker-base"})
        there = post(server, ASKED | {"model": tiny.name})

    assert (missing.status_code, there.status_code) == (503, 200)
    message = missing.json()["message"]
    assert "offline mode is on (HF_HUB_OFFLINE)" in message
    assert "rerank pull BAAI/bge-reranker-base" in message
    assert "into weights/bge-reranker-base" in message


def test_a_download_cut_off_by_a_kill_is_never_loaded_and_resumes(tmp_path: Path, tiny: Path, hub: FakeHub) -> None:
    weights = hub.add_folder(NAME, tiny).files["model.safetensors"]
    weights.holding = True
    settings = {"RERANK_DEFAULT_MODEL": NAME, "HF_ENDPOINT": hub.url}
    with ServerProcess(tmp_path, settings) as server, ThreadPoolExecutor(1) as callers:
        cut_off = callers.submit(post, server, ASKED)
        assert weights.held.wait(60)
        wait_for_half(server, NAME, len(weights.content))
        server.stop(signal.SIGKILL)
    assert isinstance(cut_off.exception(), requests.ConnectionError)
    weights.release.set()
    assert not (tmp_path / "models" / "reranker").exists()

    weights.holding = False
    hub.requests.clear()
    with ServerProcess(tmp_path, settings) as server:
        before = requests.get(f"{server.url}/v1/models/{NAME}", timeout=60).json()
        answer = post(server, ASKED)

    assert (before["local"], before["download"]) == (False, None)
    assert answer.status_code == 200
    assert hub.ranges
    assert not hub.requests_of("config.json")
