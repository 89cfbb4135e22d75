"""The main job, with a real server process, real weights and real clients."""

from __future__ import annotations

import asyncio
import errno
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from sentence_transformers import CrossEncoder

from rerank.errors import SettingsError
from rerank.server import serve
from rerank_client import NotFoundError, RerankClient, SyncRerankClient, UnavailableError
from tests.process.server import ROOT, ServerProcess, clean_environment, post, wait_for_work
from tests.support.fake_hub import FakeHub
from tests.support.fake_upstream import FakeUpstream
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("converted")

QUERY = "What is the capital of France?"
DOCUMENTS = ["Berlin is the capital of Germany.", "Paris is the capital of France.", "I like cheese."]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[ServerProcess]:
    """A server with exact scores, with one checkpoint under models/."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copytree(tiny, folder / "models" / tiny.name)
    with ServerProcess(folder, {"MODEL_PRECISION": "fp32"}) as running:
        yield running


def test_the_embedded_model_ranks_the_readme_example_without_weights_or_network(server: ServerProcess) -> None:
    answer = post(server, {"query": QUERY, "documents": DOCUMENTS}).json()

    assert [result["index"] for result in answer["results"]] == [1, 0, 2]
    assert answer["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert "bge-reranker-large is not on disk" in answer["meta"]["model_reason"]
    assert all(0 <= result["relevance_score"] <= 1 for result in answer["results"])


def test_root_and_log_say_which_model_is_the_default_and_why(server: ServerProcess) -> None:
    root = requests.get(server.url, timeout=10).json()

    assert root["default_model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert root["default_model_reason"] in "".join(server.log)
    assert "rerank pull BAAI/bge-reranker-v2-m3" in "".join(server.log)


def test_a_folder_under_models_scores_as_cross_encoder_predict_does(server: ServerProcess, tiny: Path) -> None:
    documents = [*DOCUMENTS, "machine learning " * 400, "", "机器学习"]
    expected = CrossEncoder(str(tiny), device="cpu").predict([(QUERY, document) for document in documents])

    answer = post(server, {"query": QUERY, "documents": documents, "model": "Tiny-Reranker"}).json()

    scores = {result["index"]: result["relevance_score"] for result in answer["results"]}
    assert answer["model"] == "tiny-reranker"
    assert [scores[index] for index in range(len(documents))] == pytest.approx(expected.tolist(), abs=1e-5)


def test_both_clients_agree_with_the_raw_answer(server: ServerProcess) -> None:
    raw = [
        (r["index"], r["relevance_score"])
        for r in post(server, {"query": QUERY, "documents": DOCUMENTS}).json()["results"]
    ]

    async def ask() -> list[tuple[int, float]]:
        async with RerankClient(server.url) as client:
            assert await client.health()
            return [(r.index, r.relevance_score) for r in await client.rerank(QUERY, DOCUMENTS)]

    with SyncRerankClient(server.url) as client:
        results = client.rerank(QUERY, DOCUMENTS, top_n=2)
        with pytest.raises(NotFoundError, match="tiny-reranker"):
            client.rerank(QUERY, DOCUMENTS, model="tiny-rerankr")
        assert "tiny-reranker" in [model["id"] for model in client.models()]

    assert dict(asyncio.run(ask())) == pytest.approx(dict(raw))
    assert [result.document for result in results] == [DOCUMENTS[1], DOCUMENTS[0]]


def test_the_shell_one_liner_prints_a_ranking(server: ServerProcess, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "rerank_client.py"), QUERY, "--base-url", server.url]

    table = subprocess.run([*command, *DOCUMENTS], capture_output=True, text=True, check=True)
    piped = subprocess.run([*command, "--json"], input="\n".join(DOCUMENTS), capture_output=True, text=True, check=True)

    assert DOCUMENTS[1] in table.stdout.splitlines()[1]
    assert json.loads(piped.stdout)[0]["index"] == 1


async def test_astrbot_gets_what_it_needs(server: ServerProcess) -> None:
    """The requests of its vLLM rerank provider: the self-test, the knowledge base without top_n, and top_n."""
    url = server.url.rstrip("/") + "/v1/rerank"
    model = "sentence-transformers/all-MiniLM-L6-v2"
    bodies: list[dict[str, Any]] = [
        {"query": "Apple", "documents": ["apple", "banana"], "model": model},
        {"query": QUERY, "documents": DOCUMENTS, "model": model},
        {"query": QUERY, "documents": DOCUMENTS, "model": model, "top_n": 2},
    ]
    counts = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        for body in bodies:
            async with session.post(url, json=body) as response:
                response.raise_for_status()
                results = (await response.json())["results"]
            assert all(isinstance(r["index"], int) and isinstance(r["relevance_score"], float) for r in results)
            counts.append(len(results))

    assert counts == [2, 3, 2]


def test_health_and_others_are_answered_while_a_long_request_is_scored(server: ServerProcess) -> None:
    documents = [f"{number} {'word ' * 30}" for number in range(5000)]
    long = {"query": QUERY, "documents": documents, "model": "tiny-reranker"}
    order = []

    async def run() -> None:
        async with aiohttp.ClientSession(server.url) as session:

            async def send(name: str, body: dict[str, Any]) -> None:
                async with session.post("/v1/rerank", json=body) as response:
                    assert response.status == 200
                    await response.read()
                order.append(name)

            started = asyncio.create_task(send("long", long))
            while (await (await session.get("/load")).json())["server_load"] == 0:
                pass
            await send("short", {"query": QUERY, "documents": DOCUMENTS, "model": "tiny-reranker"})
            async with session.get("/health") as health:
                order.append(f"health {health.status}")
            await started

    asyncio.run(run())

    assert order == ["short", "health 200", "long"]


def test_a_large_request_is_answered_whole_or_refused_clearly(server: ServerProcess) -> None:
    documents = [f"document number {number}" for number in range(5000)]
    asked = {"query": QUERY, "model": "tiny-reranker", "return_documents": False}

    whole = post(server, asked | {"documents": documents})
    refused = post(server, asked | {"documents": documents * 2})

    assert sorted(result["index"] for result in whole.json()["results"]) == list(range(5000))
    assert refused.status_code == 400
    assert "10000 documents" in refused.json()["message"]


def test_a_broken_folder_is_named_and_served_once_repaired(tmp_path: Path, tiny: Path) -> None:
    folder = tmp_path / "models" / tiny.name
    shutil.copytree(tiny, folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    body = {"query": QUERY, "documents": DOCUMENTS, "model": tiny.name}

    with ServerProcess(tmp_path) as server:
        cut_short = post(server, body)
        (folder / "model.safetensors").unlink()
        missing = post(server, body)
        alive = post(server, {"query": QUERY, "documents": DOCUMENTS})
        (folder / "model.safetensors").write_bytes(weights)
        repaired = post(server, body)

    assert [cut_short.status_code, missing.status_code, alive.status_code, repaired.status_code] == [503, 503, 200, 200]
    assert "tiny-reranker/model.safetensors is corrupt" in cut_short.json()["message"]
    assert "tiny-reranker/model.safetensors is missing" in missing.json()["message"]
    assert str(tmp_path) not in cut_short.text + missing.text


def test_missing_weights_and_no_hub_give_the_command_that_fetches_them(server: ServerProcess) -> None:
    with SyncRerankClient(server.url, max_retries=0) as client:
        with pytest.raises(UnavailableError, match="rerank pull BAAI/bge-reranker-base"):
            client.rerank(QUERY, DOCUMENTS, model="bge-reranker-base")
        assert client.rerank(QUERY, DOCUMENTS)[0].index == 1


def test_a_key_guards_the_server_and_the_log_says_why_but_never_which(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"RERANK_API_KEY": "secret-one, secret-two"}) as server:
        body = {"query": QUERY, "documents": DOCUMENTS}
        right = {"Authorization": "bearer secret-two"}
        statuses = [
            post(server, body).status_code,
            post(server, body, headers={"Authorization": "Bearer wrong"}).status_code,
            post(server, body, headers=right).status_code,
            post(server, body, path="/rerank?access_token=secret-one").status_code,
            post(server, body | {"documents": [3]}, headers=right).status_code,
        ]
        server.wait_for_log("error=no key client=127.0.0.1")
        server.wait_for_log("error=body.documents.0 client=127.0.0.1")

    assert statuses == [401, 401, 200, 200, 400]
    assert server.url.startswith("http://0.0.0.0")
    assert "secret" not in "".join(server.log)


@pytest.mark.parametrize(
    "settings",
    [{"RERANK_PRELOAD": "tiny-reranker"}, {"RERANK_PRELOAD": "", "RERANK_DEFAULT_MODEL": "tiny-reranker"}],
    ids=["preloaded", "default"],
)
def test_models_load_without_a_request(tmp_path: Path, tiny: Path, settings: dict[str, str]) -> None:
    shutil.copytree(tiny, tmp_path / "models" / tiny.name)

    with ServerProcess(tmp_path, settings) as server:
        server.wait_for_log("tiny-reranker is ready")
        assert requests.get(server.url, timeout=10).json()["loaded_models"] == [tiny.name]


# what SIGTERM does is seen below, where it comes while requests are answered
def test_ctrl_c_ends_the_server_cleanly(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        post(server, {"query": QUERY, "documents": DOCUMENTS})

        assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in "".join(server.log)


def test_ctrl_c_during_a_load_does_not_wait_for_it(tmp_path: Path, tiny: Path) -> None:
    with FakeHub() as hub:
        weights = hub.add_folder("org/reranker", tiny).files["model.safetensors"]
        weights.holding = True
        settings = {"RERANK_PRELOAD": "org/reranker", "HF_ENDPOINT": hub.url}
        with ServerProcess(tmp_path, settings) as server:
            assert weights.held.wait(60)
            status = server.stop(signal.SIGINT)
        weights.release.set()

    assert status == 0
    assert not (tmp_path / "models" / "reranker").exists()
    # an end that was asked for is no failure
    assert "preloading org/reranker failed" not in "".join(server.log)


def test_uvicorn_can_run_the_app(tmp_path: Path) -> None:
    command = ["-m", "uvicorn", "rerank_server:app", "--port", "0"]

    with ServerProcess(tmp_path, command=command) as server:
        answer = post(server, {"query": QUERY, "documents": DOCUMENTS}, path="/rerank?access_token=not-needed")

    assert answer.json()["results"][0]["index"] == 1
    assert "not-needed" not in "".join(server.log)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"PORT": "eight"}, "PORT: Input should be a valid integer"),
        ({"RERANK_PROT": "8000"}, "RERANK_PROT is not a setting. Did you mean RERANK_PORT?"),
        ({"RERANK_DEFAULT_MODEL": "bge-reranker-bsae"}, "--default-model: The model `bge-reranker-bsae` does not"),
        ({"RERANK_PRELOAD": "bge-reranker-bsae"}, "RERANK_PRELOAD / --preload: The model `bge-reranker-bsae` does not"),
        ({"MODEL_DEVICE": "cuda:77"}, "MODEL_DEVICE=cuda:77"),
    ],
)
def test_a_wrong_setting_stops_the_start_and_is_named(tmp_path: Path, settings: dict[str, str], said: str) -> None:
    environment = clean_environment(tmp_path) | settings

    ended = subprocess.run(
        [sys.executable, str(ROOT / "rerank_server.py")], cwd=tmp_path, env=environment, capture_output=True, text=True
    )

    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_said(tmp_path: Path, server: ServerProcess) -> None:
    port = server.url.rsplit(":", 1)[1]

    second = ServerProcess(tmp_path, command=(str(ROOT / "rerank_server.py"), "--port", port))

    assert second.wait() == 2
    assert second.log[-1] == (
        f"rerank: RERANK_PORT / PORT: port {port} of 127.0.0.1 is used by another program. Choose another one, as in "
        "`--port 8001`.\n"
    )
    assert "listening on" not in "".join(second.log)


def test_a_port_that_is_not_allowed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)

    with pytest.raises(
        SettingsError, match=r"^RERANK_PORT / PORT: port 80 of 127\.0\.0\.1 is not allowed to this user"
    ):
        serve._check_port("127.0.0.1", 80)


# documents that all differ, as equal ones are scored once, and more than can be scored between two signals
LONG = {"query": QUERY, "documents": [f"document {number} " + "word " * 200 for number in range(960)]}


def test_a_stop_lets_requests_in_work_end_and_sends_new_ones_away(tmp_path: Path) -> None:
    asked = {"query": QUERY, "documents": DOCUMENTS}
    with FakeUpstream() as upstream:
        may_end = threading.Event()
        upstream.will_answer(body=upstream.scores(DOCUMENTS), held=may_end)
        card = f'[[model]]\nid = "far"\nupstream = {{ api = "vllm", url = "{upstream.url}" }}\n'
        (tmp_path / "models.toml").write_text(card)
        settings = {"RERANK_DRAIN_TIMEOUT": "100", "RERANK_DEFAULT_MODEL": "far"}
        with ServerProcess(tmp_path, settings) as server, ThreadPoolExecutor(1) as callers:
            running = callers.submit(post, server, asked)
            wait_until(lambda: bool(upstream.calls))
            server.signal(signal.SIGTERM)
            server.wait_for_log("shutting down: waiting up to 100 s for 1 in-flight requests")
            refused = post(server, asked)
            may_end.set()
            answer = running.result()
            status = server.wait()

    assert (refused.status_code, refused.headers["Connection"]) == (503, "close")
    assert len(answer.json()["results"]) == len(DOCUMENTS)
    assert status == 0
    assert "Traceback" not in "".join(server.log)


def test_work_that_does_not_end_in_time_is_told_so(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"RERANK_DRAIN_TIMEOUT": "0"}) as server, ThreadPoolExecutor(1) as callers:
        post(server, {"query": QUERY, "documents": DOCUMENTS})
        running = callers.submit(post, server, LONG)
        wait_for_work(server)
        status = server.stop(signal.SIGTERM)

    assert (status, running.result().status_code) == (0, 503)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_leaves_at_once(tmp_path: Path, second: signal.Signals) -> None:
    # nothing can end between the two signals: neither the time to end nor the work
    with ServerProcess(tmp_path, {"RERANK_DRAIN_TIMEOUT": "100"}) as server, ThreadPoolExecutor(1) as callers:
        post(server, {"query": QUERY, "documents": DOCUMENTS})
        running = callers.submit(post, server, LONG)
        wait_for_work(server)
        server.signal(signal.SIGTERM)
        server.wait_for_log("shutting down: ")
        status = server.stop(second)

    assert status == 128 + second
    assert isinstance(running.exception(), requests.ConnectionError)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_who_still_waits_at_a_stop_is_told_so(tmp_path: Path, tiny: Path, stop: signal.Signals) -> None:
    with FakeHub() as hub:
        weights = hub.add_folder("org/reranker", tiny).files["model.safetensors"]
        weights.holding = True
        settings = {"RERANK_DEFAULT_MODEL": "org/reranker", "HF_ENDPOINT": hub.url}
        with ServerProcess(tmp_path, settings) as server, ThreadPoolExecutor(1) as callers:
            waiting = callers.submit(post, server, {"query": QUERY, "documents": DOCUMENTS})
            assert weights.held.wait(60)
            status = server.stop(stop)
            answer = waiting.result()
        weights.release.set()

    assert (status, answer.status_code) == (0, 503)
    assert answer.json()["error"]["message"] == "The server is shutting down."
    assert "Traceback" not in "".join(server.log)


def test_a_models_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {"RERANK_MODELS_FILE": "elsewhere.toml"})

    assert server.wait() == 2
    assert "there is no elsewhere.toml" in "".join(server.log)
