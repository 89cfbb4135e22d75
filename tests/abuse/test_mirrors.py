"""A Hub, or what claims to be one, that answers without end, compressed, elsewhere, or with what no disk takes."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from rerank.catalog.cards import ModelCard
from rerank.catalog.downloads import Allowed, DownloadRules, Downloads, fetching_for
from rerank.catalog.hub import fetch
from rerank.catalog.repository import inspect_repository
from rerank.errors import FetchFailure, Forbidden, Overloaded, WeightsMissing
from tests.process.server import ROOT, ServerProcess, clean_environment, post
from tests.support.fake_hub import FakeHub, tiny_checkpoint
from tests.support.tiny_checkpoints import make_xlm_roberta
from tests.support.whole import whole_server

from .looked_up import TOLD
from .support import MEGABYTE, measured

NAME = "org/tiny-reranker"
WEIGHTS = "model.safetensors"
UNREACHABLE = "http://127.0.0.1:9"
STANDSTILL = 20.0
ROOM = 150 * MEGABYTE
"""Memory that an attack without end may take."""
Usage = namedtuple("Usage", "total used free")
Misbehave = Callable[[BaseHTTPRequestHandler], None]


class Mirror:
    """A server that answers every request with ``misbehave``."""

    def __init__(self, misbehave: Misbehave) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                # the client leaves when it has had enough
                with contextlib.suppress(OSError):
                    misbehave(self)
                self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Mirror:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def head(handler: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()


def forever(handler: BaseHTTPRequestHandler, part: bytes = b"x" * 65536) -> None:
    deadline = time.monotonic() + 2 * STANDSTILL
    while time.monotonic() < deadline:
        handler.wfile.write(part)


def endless_description(handler: BaseHTTPRequestHandler) -> None:
    head(handler, 200, Content_Type="application/json")
    handler.wfile.write(b'{"sha": "')
    forever(handler)


def endless_error(handler: BaseHTTPRequestHandler) -> None:
    head(handler, 500)
    forever(handler)


def redirect_with_an_endless_body(handler: BaseHTTPRequestHandler) -> None:
    head(handler, 302, Location=handler.path)
    forever(handler)


def endless_redirects(handler: BaseHTTPRequestHandler) -> None:
    head(handler, 302, Location=f"{handler.path}&more", Content_Length="0")


def redirect_to_nowhere(handler: BaseHTTPRequestHandler) -> None:
    head(handler, 302, Location="file:///etc/passwd", Content_Length="0")


def bomb(handler: BaseHTTPRequestHandler) -> None:
    content = gzip.compress(b"[" * (64 * MEGABYTE))
    head(handler, 200, Content_Encoding="gzip", Content_Length=str(len(content)))
    handler.wfile.write(content)


def answering(content: bytes) -> Misbehave:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        head(handler, 200, Content_Length=str(len(content)))
        handler.wfile.write(content)

    return answer


def describing(*files: dict[str, Any]) -> Misbehave:
    return answering(json.dumps({"sha": "c" * 40, "siblings": files}).encode())


def sibling(name: str, size: Any = 10) -> dict[str, Any]:
    return {"rfilename": name, "size": size, "blobId": "b" * 40, "lfs": {"sha256": "a" * 64}}


@pytest.fixture(autouse=True)
def _without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.mark.parametrize(
    "misbehave",
    [
        endless_description,
        endless_error,
        redirect_with_an_endless_body,
        endless_redirects,
        redirect_to_nowhere,
        bomb,
        answering(b"[" * 1_000_000),
        answering(b'{"sha": ' * 100_000),
        answering(b"null"),
        answering(b'{"sha": "../../etc", "siblings": []}'),
        describing(sibling("config.json", -1)),
        describing(sibling("config.json", "1e999")),
        describing(sibling("config.json", 10**30), sibling(WEIGHTS)),
        describing(*(sibling(f"{number}.json") for number in range(20_001))),
    ],
)
def test_a_description_is_read_within_limits(misbehave: Misbehave) -> None:
    with Mirror(misbehave) as mirror, measured(os.getpid()) as cost, pytest.raises(WeightsMissing) as refused:
        inspect_repository(NAME, endpoint=mirror.url)
    assert refused.value.failure is FetchFailure.UNREACHABLE
    assert len(refused.value.message) < 2_000
    assert cost.seconds < STANDSTILL
    assert cost.peak < ROOM


@pytest.mark.parametrize(
    "name",
    [
        "../config.json",
        "/etc/config.json",
        "a\0.json",
        "x" * 5_000 + ".json",
        "1_" * 30_000 + "-/config.json",
        "a\n.txt",
    ],
    ids=lambda name: ascii(name[:16]),
)
def test_names_that_no_disk_takes_are_no_files_of_a_model(name: str) -> None:
    began = time.process_time()
    with Mirror(describing(sibling("config.json"), sibling(WEIGHTS), sibling(name))) as mirror:
        described = inspect_repository(NAME, endpoint=mirror.url)
    assert {file.path for file in described.files} == {"config.json", WEIGHTS}
    assert time.process_time() - began < STANDSTILL


def test_a_compressed_file_is_refused(tmp_path: Path) -> None:
    with FakeHub() as hub:
        repository = hub.add_repository(NAME, tiny_checkpoint())
        repository.files["config.json"].encoding = "gzip"
        with pytest.raises(WeightsMissing, match="compressed"):
            fetch(NAME, tmp_path / "models" / "tiny", endpoint=hub.url)


def test_a_token_stays_with_the_endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    with FakeHub() as hub:
        hub.add_repository(NAME, tiny_checkpoint())
        fetch(NAME, tmp_path / "models" / "tiny", endpoint=hub.url)
    for request in hub.requests:
        elsewhere = request.path.startswith("/cdn/")
        assert ("authorization" in request.headers) != elsewhere, request


class TestToken:
    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
        monkeypatch.setenv("HF_TOKEN", "hf_expired")
        with FakeHub() as running:
            running.refused_tokens = {"hf_expired"}
            yield running

    def test_token_that_expired_does_not_keep_a_public_model_away(
        self, hub: FakeHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        hub.add_repository(NAME, tiny_checkpoint())
        fetch(NAME, tmp_path / "models" / "tiny", endpoint=hub.url)
        assert "refuses the token of HF_TOKEN; org/tiny-reranker is fetched without it" in caplog.text
        assert "hf_expired" not in caplog.text

    def test_token_that_expired_is_named_for_a_private_one(self, hub: FakeHub, tmp_path: Path) -> None:
        hub.add_repository(NAME, tiny_checkpoint(), private_to="hf_owner")
        with pytest.raises(WeightsMissing, match="refuses the token of HF_TOKEN: it has expired") as refused:
            fetch(NAME, tmp_path / "models" / "tiny", endpoint=hub.url)
        assert refused.value.failure is FetchFailure.NO_ACCESS
        assert "hf_expired" not in refused.value.message


class TestProxy:
    """A client is made once per process, so each of these has its own."""

    FETCH = (
        "import sys; from pathlib import Path; from rerank.catalog.hub import fetch\n"
        "print(fetch(sys.argv[1], Path('models/tiny'), endpoint=sys.argv[2]))"
    )

    def fetch(self, folder: Path, hub: FakeHub, **proxies: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in clean_environment(folder).items() if name != "NO_PROXY"}
        return subprocess.run(
            [sys.executable, "-c", self.FETCH, NAME, hub.url],
            env=environment | proxies,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    @pytest.mark.parametrize(
        "proxy", ["socks5://127.0.0.1:9", "socks://127.0.0.1:9", "socks4://127.0.0.1:9", "ftp://x"]
    )
    def test_proxy_that_does_not_serve_the_hub_is_not_opened(self, tmp_path: Path, proxy: str) -> None:
        with FakeHub() as hub:
            hub.add_repository(NAME, tiny_checkpoint())
            done = self.fetch(tmp_path, hub, ALL_PROXY=proxy, NO_PROXY="127.0.0.1,localhost")
        assert done.returncode == 0, done.stderr

    def test_certificates_that_are_not_there_are_named(self, tmp_path: Path) -> None:
        with FakeHub() as hub:
            done = self.fetch(tmp_path, hub, SSL_CERT_FILE="/no/such/file")
        assert "cannot be reached (SSL_CERT_FILE or SSL_CERT_DIR: No such file" in done.stderr
        assert "WeightsMissing" in done.stderr

    def test_proxy_that_cannot_be_spoken_to_is_named(self, tmp_path: Path) -> None:
        with FakeHub() as hub:
            done = self.fetch(tmp_path, hub, ALL_PROXY="socks5://me:secret@127.0.0.1:9")
        assert "the proxy socks5://127.0.0.1:9 is none for HTTP" in done.stderr
        assert "WeightsMissing" in done.stderr
        assert "secret" not in done.stderr


def test_no_name_is_looked_up_but_the_endpoints(tmp_path: Path) -> None:
    with FakeHub() as hub:
        hub.add_folder("org/reranker", make_xlm_roberta(tmp_path / "checkpoint"))
        settings = {
            "RERANK_HF_ENDPOINT": hub.url,
            # huggingface_hub's own default
            "HF_ENDPOINT": "http://default-hub.invalid",
            "RERANK_DEFAULT_MODEL": "org/reranker",
            "HF_TOKEN": "hf_mine",
        }
        command = (str(ROOT / "tests/abuse/looked_up.py"), str(ROOT / "rerank_server.py"), "--port", "0")
        with ServerProcess(tmp_path, settings, command=command) as server:
            answer = post(server, {"query": "q", "documents": ["a", "b"]})
            assert requests.get(f"{server.url}/v1/models", timeout=60).ok
    assert answer.status_code == 200, answer.text
    looked_up = {line.partition(TOLD)[2].strip() for line in server.log if TOLD in line}
    # the fake Hub's two origins, and the server's own address
    assert looked_up <= {"127.0.0.1", "localhost", "None"}
    assert looked_up


class TestDisk:
    @pytest.fixture
    def hub(self) -> Iterator[FakeHub]:
        with FakeHub() as running:
            running.add_repository(NAME, tiny_checkpoint())
            yield running

    def test_disk_keeps_what_is_to_stay_free(
        self, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**10, 0, 1_900_000_000))
        with pytest.raises(WeightsMissing, match=r"has 1\.9 GB free and keeps 2\.0 GB of it \(RERANK_MIN_FREE_DISK\)"):
            fetch(NAME, tmp_path / "models" / "tiny", endpoint=hub.url, min_free=2_000_000_000)
        assert not hub.requests_of(WEIGHTS)

    def test_disk_that_others_fill_stops_a_download_on_its_way(
        self, hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # large enough for a second look at the disk
        hub.add_repository("org/large", tiny_checkpoint() | {WEIGHTS: bytes(65_000_000)})
        free = iter([3_000_000_000])
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**10, 0, next(free, 1_000_000_000)))
        with pytest.raises(WeightsMissing, match="so that fetching org/large was stopped") as stopped:
            fetch("org/large", tmp_path / "models" / "large", endpoint=hub.url, min_free=2_000_000_000)
        assert stopped.value.failure is FetchFailure.DISK_FULL


def ask(url: str, model: str, key: str = "") -> requests.Response:
    body = {"query": "q", "documents": ["d"], "model": model}
    return requests.post(f"{url}/v1/rerank", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=110)


class TestRules:
    CARD = ModelCard(id=NAME, repo=NAME)

    @pytest.mark.parametrize(
        ("allowed", "configured", "fetched"),
        [
            (Allowed.CATALOGUE, False, True),
            (Allowed.CONFIGURED, True, True),
            (Allowed.CONFIGURED, False, False),
            (Allowed.OFF, True, False),
        ],
    )
    def test_download_rules_say_what_is_fetched(self, allowed: Allowed, configured: bool, fetched: bool) -> None:
        with contextlib.nullcontext() if fetched else pytest.raises(Forbidden, match=f"RERANK_DOWNLOADS={allowed}"):
            DownloadRules(allowed).check(self.CARD, configured=configured)

    def test_a_caller_has_two_downloads_at_a_time(self) -> None:
        downloads = Downloads()
        fetching_for.set("alice")
        with downloads.watched("one"), downloads.watched("two"):
            with pytest.raises(Overloaded, match="2 models are being fetched"), downloads.watched("three"):
                pass
            fetching_for.set("bob")
            with downloads.watched("four"):
                pass
            fetching_for.set(None)
            with downloads.watched("five"), downloads.watched("six"), downloads.watched("seven"):
                pass
            fetching_for.set("alice")
        with downloads.watched("three"):
            pass
        fetching_for.set(None)

    @pytest.mark.parametrize(("allowed", "named", "status"), [("off", False, 403), ("configured", True, 503)])
    def test_download_rules_of_a_server_hold_for_its_callers(
        self, tmp_path: Path, allowed: str, named: bool, status: int
    ) -> None:
        named_model = {"default_model": "bge-reranker-base"} if named else {}
        with whole_server(tmp_path, downloads=allowed, hf_endpoint=UNREACHABLE, **named_model) as url:
            answer = ask(url, "BAAI/bge-reranker-base")
            other = ask(url, "BAAI/bge-reranker-large")
        assert (answer.status_code, other.status_code) == (status, 403), (answer.text, other.text)
        assert f"RERANK_DOWNLOADS={allowed}" in other.json()["message"]

    def test_a_server_fetches_two_models_at_a_time_for_a_caller(self, tmp_path: Path) -> None:
        names = [f"org/model-{number}" for number in range(3)]
        (tmp_path / "models.toml").write_text("".join(f'[[model]]\nid = "{name}"\n' for name in names))
        with FakeHub() as hub, ThreadPoolExecutor(2) as callers:
            held = [hub.add_repository(name, tiny_checkpoint()).files[WEIGHTS] for name in names]
            for file in held:
                file.holding = True
            keys = "one-of-the-keys,another-key"
            with whole_server(tmp_path, hf_endpoint=hub.url, api_key=keys) as url:
                waiting = [callers.submit(ask, url, name, "one-of-the-keys") for name in names[:2]]
                assert all(file.held.wait(60) for file in held[:2])
                refused = ask(url, names[2], "one-of-the-keys")
                for file in held:
                    file.release.set()
                # the files are no model's, but each download was let through
                answers = [call.result() for call in waiting] + [ask(url, names[2], "another-key")]
        assert refused.status_code == 429, refused.text
        assert "2 models are being fetched for this key already" in refused.json()["message"]
        assert refused.headers["Retry-After"] == "60"
        assert 429 not in [answer.status_code for answer in answers]
