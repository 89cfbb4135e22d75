"""Cards of models.toml in a running server: read again on SIGHUP, and downloads that can be watched."""

from __future__ import annotations

import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.process.server import ServerProcess, download_of, post, wait_for_half, wait_for_work
from tests.support.fake_hub import FakeHub
from tests.support.whole import whole_server

pytestmark = pytest.mark.usefixtures("converted")

ASKED = {"query": "What is the capital of France?", "documents": ["Berlin is big.", "Paris is the capital of France."]}
LONG = {"query": "What is the capital of France?", "documents": [f"{number} {'word ' * 30}" for number in range(1500)]}
NAME = "org/reranker"
CARD = '[[model]]\nid = "acme/mine"\npath = "models/tiny-reranker"\n'


@pytest.fixture
def folder(tmp_path: Path, tiny: Path) -> Path:
    """Where a server runs that has one model under a card."""
    shutil.copytree(tiny, tmp_path / "models" / tiny.name)
    (tmp_path / "models.toml").write_text(CARD)
    return tmp_path


def reload(server: ServerProcess, cards: str, until: str) -> None:
    """Write the models file, send SIGHUP, wait for the log to say so."""
    (server.folder / "models.toml").write_text(cards)
    server.signal(signal.SIGHUP)
    server.wait_for_log(until)


def test_a_card_is_added_while_a_request_waits(folder: Path, tiny: Path, hub: FakeHub) -> None:
    weights = hub.add_folder(NAME, tiny).files["model.safetensors"]
    weights.holding = True
    settings = {"RERANK_DEFAULT_MODEL": NAME, "HF_ENDPOINT": hub.url}
    with ServerProcess(folder, settings) as server, ThreadPoolExecutor(1) as callers:
        waiting = callers.submit(post, server, ASKED)
        assert weights.held.wait(60)
        unknown = post(server, ASKED | {"model": "nick"})
        reload(server, CARD + 'aliases = ["nick"]\n[[model]]\nid = "acme/new"\npath = "models/tiny-reranker"', "added")
        answers = [post(server, ASKED | {"model": name}) for name in ("acme/new", "nick")]
        undisturbed = not waiting.done()
        weights.release.set()
        waited = waiting.result()

    assert unknown.status_code == 404
    assert [answer.status_code for answer in answers] == [200, 200]
    assert undisturbed
    assert (waited.status_code, waited.json()["model"]) == (200, NAME)


def test_a_model_whose_card_changed_is_loaded_anew_while_the_old_one_ends_its_work(folder: Path) -> None:
    with ServerProcess(folder) as server, ThreadPoolExecutor(1) as callers:
        before = post(server, ASKED | {"model": "acme/mine"})
        long = callers.submit(post, server, LONG | {"model": "acme/mine"})
        wait_for_work(server)
        reload(server, CARD + "max_length = 40\n", "changed acme/mine")
        after = post(server, ASKED | {"model": "acme/mine"})
        shown = requests.get(f"{server.url}/v1/models/acme/mine", timeout=60).json()
        ended = long.result()

    assert [answer.status_code for answer in (before, after, ended)] == [200, 200, 200]
    assert before.json()["usage"]["total_tokens"] > after.json()["usage"]["total_tokens"]
    assert shown["max_model_len"] == 40
    assert len(ended.json()["results"]) == len(LONG["documents"])
    assert sum("acme/mine is ready" in line for line in server.log) == 2


def test_a_preloaded_model_whose_card_changed_is_loaded_anew_at_once(folder: Path) -> None:
    with ServerProcess(folder, {"RERANK_PRELOAD": "acme/mine"}) as server:
        server.wait_for_log("acme/mine is ready")
        reload(server, CARD + "max_length = 40\n", "changed acme/mine")
        server.wait_for_log("acme/mine is ready", times=2)
        shown = requests.get(f"{server.url}/v1/models/acme/mine", timeout=60).json()

    assert (shown["state"], shown["max_model_len"]) == ("ready", 40)


WRONG_CARDS = {
    "[[model]\n": "models.toml: not valid TOML",
    CARD + "max_lenght = 5\n": "models.toml: model.0.max_lenght: there is no such field. Did you mean max_length?",
    '[[model]]\nid = "acme/other"\nprecision = "fp16"\n' + CARD * 2: "'acme/mine' to two models",
}


def test_a_wrong_file_leaves_the_cards_as_they_were(folder: Path) -> None:
    with ServerProcess(folder, {"RERANK_DEFAULT_MODEL": "acme/mine"}) as server:
        for times, (cards, why) in enumerate(WRONG_CARDS.items(), start=1):
            reload(server, cards, why)
            server.wait_for_log("models and keys unchanged", times)
            answer = post(server, ASKED)
            assert (answer.status_code, answer.json()["model"]) == (200, "acme/mine")


def test_a_card_whose_precision_this_machine_does_not_have_stops_the_start(folder: Path) -> None:
    (folder / "models.toml").write_text(CARD + 'precision = "int8"\n')
    server = ServerProcess(folder, {"MODEL_RUNTIME": "torch"})

    assert server.wait() == 2
    assert "models.toml: acme/mine: precision int8: " in "".join(server.log)


def test_a_card_has_a_precision_of_its_own(folder: Path) -> None:
    (folder / "models.toml").write_text(CARD + 'precision = "bf16"\n')
    # in this process, which has imported torch
    with whole_server(folder, model_precision="fp32", model_runtime="torch") as url:
        runtimes = []
        for name in ("acme/mine", "all-MiniLM-L6-v2"):
            requests.post(f"{url}/v1/rerank", json=ASKED | {"model": name}, timeout=60).raise_for_status()
            runtimes.append(requests.get(f"{url}/v1/models/{name}", timeout=60).json()["runtime"])

    assert "bf16" in runtimes[0]
    assert "fp32" in runtimes[1]


def test_one_download_serves_all_who_wait_can_be_watched_and_holds_up_no_other_model(
    tmp_path: Path, tiny: Path, hub: FakeHub
) -> None:
    repository = hub.add_folder(NAME, tiny)
    weights = repository.files["model.safetensors"]
    weights.holding = True
    with (
        ServerProcess(tmp_path, {"RERANK_DEFAULT_MODEL": NAME, "HF_ENDPOINT": hub.url}) as server,
        ThreadPoolExecutor(3) as callers,
    ):
        waiting = [callers.submit(post, server, ASKED) for _ in range(3)]
        assert weights.held.wait(60)
        wait_for_half(server, NAME, len(weights.content))
        seen = download_of(server, NAME)
        other = post(server, ASKED | {"model": "all-MiniLM-L6-v2"})
        still_waiting = not any(call.done() for call in waiting)
        weights.release.set()
        answers = [call.result() for call in waiting]
        after = download_of(server, NAME)

    total = sum(len(file.content) for file in repository.files.values())
    assert seen
    assert seen["total"] == total
    assert seen["done"] < total
    assert (other.status_code, still_waiting) == (200, True)
    assert [answer.status_code for answer in answers] == [200] * 3
    assert after is None
    # one that was held for long goes on where it stopped
    assert ["range" in request.headers for request in hub.requests_of("|model.safetensors")].count(False) == 1


def test_a_folder_without_configuration_and_an_ambiguous_name_are_told(tmp_path: Path, tiny: Path) -> None:
    (tmp_path / "models" / "empty").mkdir(parents=True)
    (tmp_path / "models.toml").write_text('[[model]]\nid = "one/base"\n[[model]]\nid = "two/base"\n')
    with ServerProcess(tmp_path) as server:
        told = [post(server, ASKED | {"model": name}) for name in ("empty", "base")]

    assert [answer.status_code for answer in told] == [404, 404]
    assert "models/empty is there, but models/empty/config.json is missing" in told[0].json()["message"]
    assert told[1].json()["message"] == "The name `base` is ambiguous. Use a full id: one/base or two/base."
