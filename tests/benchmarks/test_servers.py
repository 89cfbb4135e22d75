"""Load, turns and processes, with servers that answer at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contestants import contestant
from benchmarks.http_load import Record, load, measure
from benchmarks.overhead import take_turns
from benchmarks.processes import Contestant, NotAvailableError, last_line, process_tree, serving
from benchmarks.scheduled import scheduled
from rerank.core import Pair
from rerank.scorers.fake import WordOverlapScorer
from tests.support.app import MODEL, AppUnderTest, LiveServer

BODY = json.dumps({"model": MODEL.id, "query": "a b", "documents": ["a", "a b"]}).encode()
_SERVER = """
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
    def do_GET(self):
        self.answer(200, b"")
    def do_POST(self):
        documents = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["documents"]
        results = [{"index": place, "relevance_score": place / 4} for place in reversed(range(len(documents)))]
        self.answer(int(sys.argv[2]), json.dumps({"results": results}).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def small_server(status: int = 200) -> Contestant:
    return Contestant(
        "small", (sys.executable, "-c", _SERVER.replace("{", "{{").replace("}", "}}"), "{port}", str(status))
    )


async def test_every_body_is_sent_once_by_any_number_of_clients(tmp_path: Path) -> None:
    app = AppUnderTest(tmp_path)
    with LiveServer(app.asgi) as server:
        url = f"http://127.0.0.1:{server.port}/v1/rerank"
        for clients in (1, 3, 9):
            sample = await load(url, [BODY] * 7, clients)
            assert len(sample.latencies) == 7
            assert 0 < max(sample.latencies) <= sample.seconds
        with pytest.raises(NotAvailableError, match="answers 400"):
            await load(url, [b"{}"], 1)
        with scheduled(WordOverlapScorer()) as engine:
            turns = await take_turns(url, MODEL.id, engine, [Pair("a b", "a"), Pair("a b", "c")], 4)
    app.release()

    assert [len(seconds) for seconds in turns] == [4, 4]


def test_a_round_records_scores_latencies_and_memory(tmp_path: Path) -> None:
    record = Record("small")

    for _ in range(2):
        measure(small_server(), record, [BODY], {1: [BODY] * 4, 2: [BODY] * 4}, tmp_path)

    assert record.obstacle is None
    assert record.scores == [0, 0.25]
    assert {clients: len(rounds) for clients, rounds in record.rounds.items()} == {1: 2, 2: 2}
    assert min(record.serving_bytes + record.starting_bytes) > 1_000_000


def test_a_server_that_refuses_or_does_not_start_is_noted_with_the_reason(tmp_path: Path) -> None:
    refusing, dying, absent = Record("refusing"), Record("dying"), Record("absent")

    measure(small_server(503), refusing, [BODY], {1: [BODY]}, tmp_path)
    measure(
        Contestant("dying", (sys.executable, "-c", "raise ValueError('no luck')")), dying, [BODY], {1: [BODY]}, tmp_path
    )
    measure(Contestant("absent", (str(tmp_path / "python"),)), absent, [BODY], {1: [BODY]}, tmp_path)

    assert (refusing.obstacle or "").startswith("answers 503")
    assert "ended with status 1: ValueError: no luck" in (dying.obstacle or "")
    assert absent.obstacle == "not installed here: make bench-peers"


def test_a_server_is_gone_with_its_children_afterwards(tmp_path: Path) -> None:
    with serving(small_server(), tmp_path) as server:
        assert server.pid in process_tree(os.getpid())

    assert server.pid not in process_tree(os.getpid())


def test_the_tree_holds_grandchildren() -> None:
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(process_tree(process.pid)) == 2
        process.communicate(b"\n")


def test_the_last_line_that_names_an_error_says_most() -> None:
    assert last_line("a\nValueError: b\n\nclosing\n") == "ValueError: b"
    assert last_line("a\nb\n") == "b"
    assert last_line("") == "it said nothing"


def test_contestants_are_named_by_kind_and_precision(tmp_path: Path) -> None:
    assert contestant("ours-int8", tmp_path).environment["MODEL_PRECISION"] == "int8"
    assert "bfloat16" in contestant("vllm-bf16", tmp_path).command
    assert "LD_PRELOAD" not in contestant("vllm-defaults-fp32", tmp_path).environment
    for name in ("ours", "vllm-int8", "tei-fp32"):
        with pytest.raises(ValueError, match="is no contestant"):
            contestant(name, tmp_path)
