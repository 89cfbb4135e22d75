"""Every block of the two documents that this server was created from which calls it, against a real process.

`founding/` holds the blocks as they stand there, of 001 (one model, its `.env`) and of 002 (several models, clients);
damaged Chinese characters are mended, but in `001-damaged.env`, which is the file as it came. What the tests replace:

- host and port (`localhost:6006`, `localhost:8000`, `127.0.0.1:8000`) by those of the server that is running, in the
  blocks and in the copy of `rerank_client.py` that they import; `--port 8001` by a free one;
- `your-api-key`, which stands for the reader's, by `your-secret-key`, which the page gives to the server;
- `MODEL_DEVICE=cuda` by an environment variable, because there may be no GPU; and `MAX_SEQ_LENGTH=256`, because the
  tiny checkpoint has a token for each byte, so that Qwen3's prompt alone has more (with Qwen3's own tokens: about 90);
- `[...]` and names that a block leaves to its reader (`vector_search`, `query`), by something small.

The checkpoints are tiny ones under the names that the pages use. Where the pages' answers and vLLM's differ (001 shows
an array with `score` at `/v1/rerank`), vLLM's are the contract.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from rerank.settings import Settings, setting_names
from tests.process.server import ROOT, ServerProcess, clean_environment
from tests.support.kept import convert
from tests.support.tiny_checkpoints import make_qwen3, make_xlm_roberta

BLOCKS = Path(__file__).parent / "founding"
BASE, LARGE, M3 = (f"BAAI/bge-reranker-{name}" for name in ("base", "large", "v2-m3"))
KEY = "your-secret-key"
ADDRESS = re.compile(r"http://(?:localhost|127\.0\.0\.1):(?:6006|8000)\b")

Send = Callable[[str], list[Any]]


def block(name: str) -> str:
    """A block as it stands on its page; Python is kept as text, because some of it is no whole program."""
    file = BLOCKS / (f"{name}.txt" if name.endswith(".py") else name)
    return file.read_text(encoding="utf-8")


def exported(name: str) -> dict[str, str]:
    """What a block's `export` lines put into the environment."""
    words = [shlex.split(line, comments=True) for line in block(name).splitlines()]
    return dict(line[1].split("=", 1) for line in words if line and line[0] == "export")


class Silent(NamedTuple):
    """A server that takes connections, and never answers."""

    url: str


def at(server: ServerProcess | Silent, text: str) -> str:
    return ADDRESS.sub(server.url.replace("0.0.0.0", "127.0.0.1"), text).replace("your-api-key", KEY)


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of 002, with a model under each of its names."""
    folder = tmp_path_factory.mktemp("002")
    for seed, name in enumerate((BASE, LARGE, M3)):
        make_xlm_roberta(folder / "models" / name.split("/")[1], seed=seed)
    convert(folder / "models", BASE, LARGE, M3)
    return folder


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The server of 001, with its `.env` as it came."""
    folder = tmp_path_factory.mktemp("001")
    make_qwen3(folder / "models" / "Qwen3-Reranker-4B", positions=2048)
    convert(folder / "models", "Qwen3-Reranker-4B")
    shutil.copyfile(BLOCKS / "001-damaged.env", folder / ".env")
    with ServerProcess(folder, {"MODEL_DEVICE": "cpu", "MAX_SEQ_LENGTH": "2048"}) as server:
        yield server


@pytest.fixture(scope="module")
def unguarded(several: Path) -> Iterator[ServerProcess]:
    """The server of 002 as its page starts it on another port."""
    started = next(line for line in block("002-start.sh").splitlines() if line.startswith("uvicorn "))
    command = ("-m", *shlex.split(started.replace("--port 8001", "--port 0")))
    with ServerProcess(several, {"MODEL_DEVICE": "cpu"}, command) as server:
        yield server


@pytest.fixture(scope="module")
def guarded(several: Path) -> Iterator[ServerProcess]:
    """The server of 002 with the page's environment, and the key in it."""
    environment = exported("002-start.sh") | exported("002-environment.sh")
    assert environment == {"RERANK_API_KEY": KEY, "HF_ENDPOINT": "https://hf-mirror.com"}
    # `python rerank_server.py`, the second line of the page
    with ServerProcess(several, environment | {"MODEL_DEVICE": "cpu"}) as server:
        yield server


# ---------------------------------------------------------------- curl


def with_curl(script: str) -> list[Any]:
    """The answers to a block's commands, run by a shell."""
    environment = {"PATH": os.environ["PATH"], "NO_PROXY": "*", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["sh", "-e", "-c", script], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return list(values_in(done.stdout))


def without_curl(script: str) -> list[Any]:
    """The same where there is no curl: the commands are read, and sent by requests."""
    whole = re.sub(r"^#.*$", "", script, flags=re.MULTILINE).replace("\\\n", " ")
    words = shlex.split(whole)
    starts = [place for place, word in enumerate(words) if word == "curl"]
    return [send_words(words[start + 1 : end]) for start, end in zip(starts, [*starts[1:], len(words)], strict=True)]


def send_words(words: list[str]) -> Any:
    method, url, data, headers = None, "", None, {}
    rest = iter(words)
    for word in rest:
        match word:
            case "-X":
                method = next(rest)
            case "-H":
                name, _, value = next(rest).partition(":")
                headers[name] = value.strip()
            case "-d":
                data = next(rest).encode()
            case _:
                url = word
    return requests.request(method or "GET", url, headers=headers, data=data, timeout=100).json()


def values_in(text: str) -> Iterator[Any]:
    """JSON values that stand one after another."""
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        value, place = decoder.raw_decode(text, place)
        yield value
        place += len(text[place:]) - len(text[place:].lstrip())


@pytest.fixture(params=["curl", "requests"])
def send(request: pytest.FixtureRequest) -> Send:
    """Runs a block of curl commands: by curl where there is one, and by what takes its place."""
    return with_curl if request.param == "curl" and shutil.which("curl") else without_curl


def places(answer: dict[str, Any]) -> list[int]:
    """Indices of results, which have scores that fall, between 0 and 1."""
    scores = [result["relevance_score"] for result in answer["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    return [result["index"] for result in answer["results"]]


class TestOneModel:
    def test_the_env_file_means_the_same_damaged_or_mended(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        for name in (name for names in setting_names().values() for name in names):
            monkeypatch.delenv(name, raising=False)
        read = []
        for name in ("001.env", "001-damaged.env"):
            settings = Settings(_env_file=str(BLOCKS / name))
            read.append(settings.model_dump(include={name for name in Settings.model_fields if name != "device"}))
        assert read[0] == read[1]
        assert read[0]["precision"] == "bf16"
        assert (read[0]["http_keep_alive"], read[0]["keep_alive"], read[0]["max_seq_length"]) == (5, 0, 256)

    def test_the_env_file_starts_the_server(self, single: ServerProcess) -> None:
        log = "".join(single.log)
        assert "WARNING - listening on http://0.0.0.0:" in log
        assert "for everyone who can connect" in log
        assert re.search(r"^\d{4}-\d\d-\d\d [\d:,]+ - rerank\.server\.build - INFO - ", log, re.MULTILINE)
        assert log.count("without effect, as one process serves everything: WORKER_CLASS, WORKER_CONNECTIONS") == 1
        assert log.count("KEEP_ALIVE is for idle connections") == 1
        status = requests.get(single.url.replace("0.0.0.0", "127.0.0.1"), timeout=60).json()
        assert status["default_model"] == "Qwen/Qwen3-Reranker-4B"
        assert "bf16" in status["device"]

    def test_health(self, single: ServerProcess, send: Send) -> None:
        assert send(at(single, block("001-health.sh"))) == [{"status": "ok"}]

    def test_rerank(self, single: ServerProcess, send: Send) -> None:
        (answer,) = send(at(single, block("001-rerank.sh")))
        assert len(places(answer)) == 2

    def test_the_python_client(self, single: ServerProcess, tmp_path: Path) -> None:
        answer = ast.literal_eval(run(single, tmp_path, "001-client.py"))
        assert len(places(answer)) == 2
        documents = re.findall(r'^ +"(.+。)",?$', block("001-client.py"), re.MULTILINE)
        assert [result["text"] for result in answer["results"]] == [documents[index] for index in places(answer)]
        assert all({"index", "relevance_score", "text"} <= result.keys() for result in answer["results"])

    def test_models_stay_though_connections_do_not(self, single: ServerProcess) -> None:
        cards = requests.get(f"{single.url.replace('0.0.0.0', '127.0.0.1')}/v1/models", timeout=60).json()["data"]
        assert next(card for card in cards if card["id"] == "Qwen/Qwen3-Reranker-4B")["local"]


class TestSeveralModels:
    def test_the_first_calls(self, unguarded: ServerProcess, send: Send) -> None:
        status, answer = send(at(unguarded, block("002-first-call.sh")))
        assert status["status"] == "running"
        assert len(places(answer)) == 1
        assert answer["model"] == LARGE

    def test_the_basic_call(self, unguarded: ServerProcess, send: Send) -> None:
        (answer,) = send(at(unguarded, block("002-basic.sh")))
        assert len(places(answer)) == 2

    def test_the_call_with_a_key(self, guarded: ServerProcess, send: Send) -> None:
        written = at(guarded, block("002-key.sh"))
        (answer,) = send(written.replace("[...]", '["文档1", "文档2"]'))
        assert sorted(places(answer)) == [0, 1]
        (refused,) = send(written.replace("[...]", '["文档1", "文档2"]').replace(KEY, "another-key"))
        assert refused["error"]["code"] == 401
        # as it stands, it is no JSON, which is said
        (unreadable,) = send(written)
        assert "JSON" in unreadable["message"]

    def test_the_call_that_names_a_model(self, unguarded: ServerProcess, send: Send) -> None:
        (answer,) = send(at(unguarded, block("002-model.sh")))
        assert (answer["model"], sorted(places(answer))) == (BASE, [0, 1])

    def test_the_models_in_memory(self, unguarded: ServerProcess, send: Send) -> None:
        # the page shows the answer after a request to the default model
        send(at(unguarded, block("002-basic.sh")))
        (status,) = send(at(unguarded, block("002-loaded.sh")))
        assert status["status"] == "running"
        assert status["default_model"] == LARGE
        assert LARGE in status["loaded_models"]
        assert {BASE, LARGE, M3} <= set(status["supported_models"])

    def test_all_models(self, unguarded: ServerProcess, send: Send) -> None:
        (listed,) = send(at(unguarded, block("002-models.sh")))
        assert {BASE, LARGE, M3} <= {card["id"] for card in listed["data"]}


# ---------------------------------------------------------------- Python


def run(
    server: ServerProcess | Silent,
    folder: Path,
    name: str,
    before: str = "",
    after: str = "",
    client: str | None = None,
) -> str:
    """What a block of Python prints, with a copy of the client next to it."""
    text = client or (ROOT / "rerank_client.py").read_text(encoding="utf-8")
    files = {
        "rerank_client.py": at(server, text),
        "your_module.py": block("your_module.py"),
        "runner.py": block("runner.py"),
        "before.txt": textwrap.dedent(before),
        "block.txt": at(server, block(name)),
        "after.txt": textwrap.dedent(after),
    }
    for file, content in files.items():
        (folder / file).write_text(content, encoding="utf-8")
    environment = clean_environment(folder) | {"PYTHONPATH": "", "PYTHONUTF8": "1"}
    command = [sys.executable, "-W", "error", "runner.py", "before.txt", "block.txt", "after.txt"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


SHOWN = r"(?:索引: \d, 分数: \d\.\d+\n)"


class TestClients:
    def test_the_asynchronous_one(self, guarded: ServerProcess, tmp_path: Path) -> None:
        assert re.fullmatch(SHOWN + "{2}", run(guarded, tmp_path, "002-async-client.py"))

    def test_the_synchronous_one(self, guarded: ServerProcess, tmp_path: Path) -> None:
        assert re.fullmatch(SHOWN + "{2}", run(guarded, tmp_path, "002-sync-client.py"))

    def test_a_chat_programs_provider(self, guarded: ServerProcess, tmp_path: Path) -> None:
        assert re.fullmatch(SHOWN + "{2}", run(guarded, tmp_path, "002-provider.py"))

    def test_the_right_key(self, guarded: ServerProcess, tmp_path: Path) -> None:
        before = "from rerank_client import RerankClient"
        after = "print(len(await client.rerank('q', ['a', 'b'])))\nawait client.close()"
        assert run(guarded, tmp_path, "002-wrong-key.py", before, after) == "2\n"

    def test_one_model_after_another(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        before = "from rerank_client import RerankClient\nclient = RerankClient()"
        after = "print(sorted(result.index for result in results))\nawait client.close()"
        assert run(unguarded, tmp_path, "002-models.py", before, after) == "[0, 1]\n"
        status = requests.get(unguarded.url, timeout=60).json()
        assert {BASE, M3} <= set(status["loaded_models"])

    def test_the_new_synchronous_one(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        before = "query, documents = 'q', ['a', 'b']"
        after = "print(len(results))\nclient.close()"
        assert run(unguarded, tmp_path, "002-new-sync-client.py", before, after) == "2\n"

    def test_retrieval_and_generation(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        before = """
            async def vector_search(query, top_k):
                return [f"文档{number}" for number in range(top_k)]

            async def llm_generate(query, documents):
                return f"{query} {len(documents)}"
        """
        assert run(unguarded, tmp_path, "002-rag.py", before, "print(answer)") == "如何提高模型性能？ 5\n"

    def test_two_stages(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        before = """
            from rerank_client import SyncRerankClient

            client, query = SyncRerankClient(), "q"
            rerank = client.rerank

            def vector_search(query, top_k):
                return [f"文档{number}" for number in range(top_k)]

            def generate(query, documents):
                return f"{query} {len(documents)}"
        """
        assert run(unguarded, tmp_path, "002-two-stages.py", before, "print(answer)\nclient.close()") == "q 5\n"

    def test_several_queries_at_once(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        before = "from rerank_client import RerankClient\ndocuments = ['a', 'b', 'c', 'd']"
        assert run(unguarded, tmp_path, "002-batch.py", before, "print([len(r) for r in results])") == "[3, 3, 3]\n"

    def test_monitoring(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        before = "from rerank_client import RerankClient\nclient, query, docs = RerankClient(), 'q', ['a', 'b']"
        after = "print(len(results))\nawait client.close()\nlogging.shutdown()"
        assert re.fullmatch(r"耗时: \d+\.\d\d秒\n2\n", run(unguarded, tmp_path, "002-monitoring.py", before, after))

    def test_the_benchmark(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        shown = run(unguarded, tmp_path, "002-benchmark.py")
        assert re.fullmatch(r"平均耗时: \d+\.\d{3}秒\nQPS: \d+\.\d\d\n", shown)

    ASK = "print([getattr(r, 'index', r) for r in await safe_rerank('q', ['a', 'b'])])"

    def test_error_handling_where_all_is_well(self, unguarded: ServerProcess, tmp_path: Path) -> None:
        assert sorted(ast.literal_eval(run(unguarded, tmp_path, "002-errors.py", after=self.ASK))) == [0, 1]

    def test_error_handling_of_a_timeout(self, tmp_path: Path) -> None:
        # the default of 60 s is too long to wait for
        text = (ROOT / "rerank_client.py").read_text(encoding="utf-8")
        hasty = re.sub(r"sock_read=self\.timeout", "sock_read=0.01", text)
        assert hasty != text
        with socket.create_server(("127.0.0.1", 0)) as listening:
            silent = Silent(f"http://127.0.0.1:{listening.getsockname()[1]}")
            shown = run(silent, tmp_path, "002-errors.py", after=self.ASK, client=hasty)
        assert shown == (
            "请求超时，使用默认排序\n[{'index': 0, 'relevance_score': 0}, {'index': 1, 'relevance_score': 0}]\n"
        )

    def test_error_handling_of_a_wrong_key(self, guarded: ServerProcess, tmp_path: Path) -> None:
        shown = run(guarded, tmp_path, "002-errors.py", after=self.ASK)
        assert shown.startswith("Rerank 失败: HTTP 401: Unauthorized")
        assert shown.endswith("\n[]\n")


def test_every_block_is_used() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for file in BLOCKS.iterdir():
        assert file.name.removesuffix(".txt") in text, file.name
