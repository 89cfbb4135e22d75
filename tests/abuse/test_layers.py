"""Several layers attacked by one request, or one after another."""

from __future__ import annotations

import gzip
import json
import os
import signal
import threading
from pathlib import Path

import pytest
import requests

from rerank.access.keyring import key_hash
from tests.abuse.conftest import StartServer
from tests.abuse.support import MEGABYTE, SECONDS, RawClient, measured
from tests.process.server import ServerProcess

KEY = "sk-of-an-ordinary-caller-00000000"
LIMITED_KEY = "sk-of-a-limited-caller-0000000000"
MODEL = "tiny"
OTHER_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
BODY = {"query": "capital of France", "documents": ["Paris", "Berlin"]}
FIELDS = BODY | {"documents": [{"a": "Paris", "b": "x"}, {"a": "Berlin", "b": "y"}], "rank_fields": ["b", "a"]}
KEYS = f"""
[[key]]
name = "limited"
sha256 = "{key_hash(LIMITED_KEY)}"
models = ["{MODEL}"]
"""
HEAD = f"POST /v1/rerank HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n".encode()
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
FORGED = "x\r\n2026-01-01 00:00:00,000 ERROR   rerank.access [-] forged\x1b[2J\u2028forged\x85forged"


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys.toml"
    file.write_text(KEYS)
    return file


@pytest.fixture(scope="module")
def server(start_server: StartServer, keys_file: Path) -> ServerProcess:
    """A server with keys, of which one is limited."""
    return start_server(RERANK_API_KEY=KEY, RERANK_KEYS_FILE=str(keys_file), HOST="127.0.0.1")


def session(key: str = KEY) -> requests.Session:
    opened = requests.Session()
    opened.headers["Authorization"] = f"Bearer {key}"
    return opened


def chunked(content: bytes, *, trailer: bytes = b"") -> bytes:
    return b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n%s\r\n" % (len(content), content, trailer)


def test_compressed_chunked_with_an_offer_to_upgrade_and_another_request_behind_it(server: ServerProcess) -> None:
    client, packed = RawClient.of(server.url), gzip.compress(json.dumps(FIELDS).encode(), mtime=0)
    sent = HEAD + UPGRADE + b"Content-Encoding: gzip\r\n" + chunked(packed, trailer=b"Content-Length: 5\r\n") + LAST
    exchange = client.exchange(sent)
    assert (exchange.statuses, exchange.closed) == ([200, 200], True)


def test_a_bomb_in_chunks_with_a_model_that_does_not_exist(server: ServerProcess) -> None:
    client = RawClient.of(server.url)
    bomb = gzip.compress(b'{"model": "nowhere", "query": "' + b"a" * 200 * MEGABYTE + b'"}', mtime=0)
    with measured(server.pid) as cost:
        exchange = client.exchange(HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n" + chunked(bomb))
    assert exchange.statuses[-1] == 413
    assert cost.peak < 150 * MEGABYTE
    assert client.is_served()


def test_a_refusal_before_the_body_came_leaves_the_connection_usable(server: ServerProcess) -> None:
    with session() as opened:
        for number in range(100):
            for path, status in ((f"/nowhere-{number}", 404), ("/v1/rerank", 200)):
                assert opened.post(server.url + path, json=BODY, timeout=SECONDS).status_code == status
            assert opened.put(server.url + "/v1/rerank", json=BODY, timeout=SECONDS).status_code == 405


def test_what_callers_make_up_adds_no_metrics(server: ServerProcess) -> None:
    def made_up(number: int) -> None:
        for fields in ({"model": f"unknown-{number}"}, {"documents": [number]}, {f"field-{number}": 1}):
            agent = {"User-Agent": f"agent-{number}", "X-Request-Id": f"id-{number}"}
            opened.post(f"{server.url}/v1/rerank", json=BODY | fields, headers=agent, timeout=SECONDS)
        for path in (f"/nowhere-{number}", f"/v1/models/unknown-{number}", f"/ready?model={number}"):
            opened.get(server.url + path, timeout=SECONDS)

    def lines() -> int:
        return len(opened.get(f"{server.url}/metrics", timeout=SECONDS).text.splitlines())

    with session() as opened:
        for number in range(5):
            made_up(number)
        before = lines()
        for number in range(5, 60):
            made_up(number)
        assert lines() == before


def test_no_caller_writes_log_lines_of_its_own(server: ServerProcess) -> None:
    quoted = requests.utils.quote(FORGED)  # type: ignore[attr-defined]
    with session() as opened:
        for path in (f"/v1/models/{quoted}", f"/{quoted}", f"/ready?model={quoted}"):
            opened.get(server.url + path, timeout=SECONDS)
        for body in (BODY | {"model": FORGED}, {FORGED: 1}, BODY | {"rank_fields": [FORGED]}):
            opened.post(f"{server.url}/v1/rerank", json=body, timeout=SECONDS)
    raw = f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {FORGED[15:]}\r\nX-Request-Id: {FORGED[30:]}\r\n\r\n"
    RawClient.of(server.url).exchange(raw.encode(), leave_after=1.0)
    with session() as opened:
        opened.get(f"{server.url}/version", headers={"X-Request-Id": "the-last-one"}, timeout=SECONDS)
    server.wait_for_log("the-last-one")
    assert [line for line in server.log if line.startswith("2026-01-01") or set("\x1b\u2028\x85") & set(line)] == []


def test_a_key_in_the_query_string_stands_in_no_log(server: ServerProcess) -> None:
    for query in (f"access_token={KEY}", f"access%5Ftoken={KEY}", f"access_token=%73{KEY[1:]}"):
        answer = requests.post(f"{server.url}/v1/rerank?{query}", json=BODY, timeout=SECONDS)
        assert answer.status_code == 200
    for query in (f"access_token=wrong&access_token={KEY}", f"ACCESS_TOKEN={KEY}", f"access_token={KEY}%00"):
        answer = requests.post(f"{server.url}/v1/rerank?{query}", json=BODY, timeout=SECONDS)
        assert answer.status_code == 401
    assert KEY[5:] not in "".join(server.log)


@pytest.mark.parametrize("name", [OTHER_MODEL, OTHER_MODEL.upper(), "all-MiniLM-L6-v2/", "./ALL-minilm-L6-v2___VLLM"])
def test_no_spelling_of_a_model_gets_a_limited_key_past_its_limit(server: ServerProcess, name: str) -> None:
    with session(LIMITED_KEY) as opened:
        refused = opened.post(f"{server.url}/v1/rerank", json=BODY | {"model": name}, timeout=SECONDS)
        assert refused.status_code == 403
        assert OTHER_MODEL not in refused.text.replace(name, "")


def test_keys_that_change_all_the_time_fail_nobody(server: ServerProcess, keys_file: Path) -> None:
    answers: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        with session() as opened:
            while not stop.is_set():
                answers.append(opened.post(f"{server.url}/v1/rerank", json=BODY, timeout=SECONDS).status_code)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    with measured(server.pid) as cost:
        for number in range(150):
            # every third one cannot be read, and is half there as when an editor writes it
            keys_file.write_text("[[key]\n" if number % 3 == 2 else KEYS)
            os.kill(server.pid, signal.SIGHUP)
    keys_file.write_text(KEYS)
    with session(LIMITED_KEY) as opened:
        assert opened.post(f"{server.url}/v1/rerank", json=BODY, timeout=SECONDS).status_code == 200
    stop.set()
    for thread in asking:
        thread.join()
    assert set(answers) == {200}
    assert cost.peak < 100 * MEGABYTE
    assert not any("Traceback" in line for line in server.log)
