"""What a hostile or broken server may send: more than fits, bombs, numbers beyond every float, terminal commands."""

from __future__ import annotations

import asyncio
import copy
import gc
import gzip
import json
import os
import pickle
import socket
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import rerank_client
from rerank_client import (
    ConnectionFailedError,
    InvalidResponseError,
    OverloadedError,
    RerankClient,
    RerankError,
    RerankResult,
    SyncRerankClient,
    TimeoutFailedError,
    main,
    parse_retry_after,
)

from . import ROOT
from .conftest import Caller
from .server import Answer, FakeServer

LIMIT = 1_000_000
ONE = {"results": [{"index": 0, "relevance_score": 0.5}]}
SCRIPT = str(ROOT / "rerank_client.py")
HUGE = "1" + "0" * 400


def zeros_for_ever() -> Iterator[bytes]:
    while True:
        yield b"0" * 65_536


def zeros_packed_for_ever() -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    while True:
        yield packer.compress(bytes(10_000_000)) + packer.flush(zlib.Z_SYNC_FLUSH)


BOMB = gzip.compress(bytes(100_000_000))


class TestAnswersThatAreTooLarge:
    @pytest.mark.parametrize("status", [200, 302, 400])
    @pytest.mark.parametrize(
        ("content", "headers"),
        [
            ("0" * (LIMIT + 1), {}),
            (zeros_for_ever, {}),
            (BOMB, {"Content-Encoding": "gzip"}),
            (zlib.compress(bytes(100_000_000)), {"Content-Encoding": "deflate"}),
            (zeros_packed_for_ever, {"Content-Encoding": "gzip"}),
        ],
        ids=["one byte", "endless", "gzip bomb", "deflate bomb", "endless bomb"],
    )
    def test_answers_that_are_too_large_are_given_up(
        self, call: Caller, server: FakeServer, content: Any, headers: dict[str, str], status: int
    ) -> None:
        answer = Answer(
            status, content() if callable(content) else content, {"Location": "http://elsewhere", **headers}
        )
        server.script.append(answer)
        tracemalloc.start()
        try:
            with pytest.raises(InvalidResponseError, match=f"more than {LIMIT} bytes"):
                call.with_options(server.url, max_answer_bytes=LIMIT)("rerank", "q", ["a"])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        # the server's own packing is in it
        assert peak < 60_000_000

    def test_an_answer_may_be_as_large_as_the_limit(self, call: Caller, server: FakeServer) -> None:
        content = json.dumps(ONE).ljust(LIMIT)
        server.behave = lambda _: Answer(content=content)
        assert call.with_options(server.url, max_answer_bytes=LIMIT)("rerank", "q", ["a"])[0].relevance_score == 0.5
        server.behave = lambda _: Answer(content=gzip.compress(content.encode()), headers={"Content-Encoding": "gzip"})
        assert call.with_options(server.url, max_answer_bytes=LIMIT)("rerank", "q", ["a"])[0].relevance_score == 0.5

    def test_a_client_works_after_an_answer_that_is_too_large(self, server: FakeServer) -> None:
        server.script.append(Answer(content="0" * 2 * LIMIT))
        with SyncRerankClient(server.url, max_answer_bytes=LIMIT) as client:
            with pytest.raises(InvalidResponseError):
                client.rerank("q", ["a"])
            assert client.rerank("q", ["a"]) == [RerankResult(0, 1.0, "a")]

    def test_the_default_limit_of_answers_exceeds_the_limit_of_requests(self, call: Caller) -> None:
        assert call.client_class().max_answer_bytes == 64 * 1024 * 1024
        with pytest.raises(ValueError, match="max_answer_bytes"):
            call.client_class(max_answer_bytes=0)


class TestCompressedAnswers:
    @pytest.mark.parametrize(
        ("encoding", "pack"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), (" Deflate ", zlib.compress)]
    )
    def test_compressed_answers_are_read(self, call: Caller, server: FakeServer, encoding: str, pack: Any) -> None:
        server.script.append(Answer(content=pack(json.dumps(ONE).encode()), headers={"Content-Encoding": encoding}))
        assert call(server.url, "rerank", "q", ["a"]) == [RerankResult(0, 0.5, None)]

    @pytest.mark.parametrize(
        ("encoding", "content", "complaint"),
        [
            ("gzip", b"no gzip at all", "cannot be decompressed"),
            ("gzip", gzip.compress(json.dumps(ONE).encode())[:-20], "expected JSON"),
            ("br", b"\x0b\x02\x80{}\x03", "compressed as br, which was not asked for"),
            ("gzip, gzip", b"", "compressed as gzip, gzip"),
        ],
        # what gzip packs holds the time
        ids=["not packed", "cut off", "another coding", "packed twice"],
    )
    def test_broken_compressed_answers_are_invalid(
        self, call: Caller, server: FakeServer, encoding: str, content: bytes, complaint: str
    ) -> None:
        server.script.append(Answer(content=content, headers={"Content-Encoding": encoding, "X-Request-Id": "abc"}))
        with pytest.raises(InvalidResponseError, match=complaint) as caught:
            call(server.url, "rerank", "q", ["a"])
        assert caught.value.request_id == "abc"


class TestNumbersBeyondEveryFloat:
    @pytest.mark.parametrize("field", ["relevance_score", "index"])
    @pytest.mark.parametrize("value", [HUGE, f"-{HUGE}", "1e999", "NaN", "9" * 4000])
    def test_a_result_with_a_number_beyond_floats_is_invalid(
        self, call: Caller, server: FakeServer, field: str, value: str
    ) -> None:
        result = {"index": "0", "relevance_score": "0.5"} | {field: value}
        row = ", ".join(f'"{name}": {number}' for name, number in result.items())
        server.script.append(Answer(content=f'{{"results": [{{{row}}}]}}'))
        with pytest.raises(InvalidResponseError) as caught:
            call(server.url, "rerank", "q", ["a"])
        assert len(caught.value.message) < 300

    @pytest.mark.parametrize("value", ["9" * 400, "9" * 19, "Fri, 31 Dec 9999 23:59:59 GMT", "1e5"])
    def test_a_huge_retry_after_can_be_slept(self, value: str) -> None:
        seconds = parse_retry_after(value, datetime.now(UTC))
        assert seconds is None or 0 <= seconds <= rerank_client.MAX_TIMEOUT_S

    @pytest.mark.parametrize("timeout", [10**400, 1e300, 1e10, float("inf"), float("nan"), 0, -1])
    def test_a_timeout_beyond_floats_is_refused(self, call: Caller, timeout: float) -> None:
        with pytest.raises(ValueError, match="timeout must be a positive number of seconds"):
            call.client_class(timeout=timeout)

    def test_a_timeout_may_be_as_large_as_the_system_takes(self, call: Caller, server: FakeServer) -> None:
        assert call.with_options(server.url, timeout=rerank_client.MAX_TIMEOUT_S)("health") is True

    def test_a_timeout_beyond_floats_is_wrong_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            main(["q", "a", "--timeout", "1e300"])
        assert caught.value.code == 2
        assert "timeout must be" in capsys.readouterr().err


class TestTimeouts:
    def test_timeouts_are_builtin_timeout_errors(self, call: Caller, server: FakeServer) -> None:
        server.behave = server.never_answer
        for kind in (TimeoutError, asyncio.TimeoutError, TimeoutFailedError, RerankError):
            with pytest.raises(kind, match=r"did not answer within 0\.1 s"):
                call.with_options(server.url, timeout=0.1)("rerank", "q", ["a"])

    def test_a_timeout_in_the_middle_of_an_answer_is_reported(self, call: Caller, server: FakeServer) -> None:
        def first_half() -> Iterator[bytes]:
            yield b'{"results": '
            server.released.wait()

        server.behave = lambda _: Answer(content=first_half())
        with pytest.raises(TimeoutFailedError):
            call.with_options(server.url, timeout=0.2)("rerank", "q", ["a"])

    # asyncio keeps what was not sent until the server is gone
    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
    def test_a_server_that_reads_nothing_is_given_up(self, call: Caller) -> None:
        # the system accepts connections and takes what fits into its buffers
        with socket.create_server(("127.0.0.1", 0)) as listener:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            given_up = {"async": "did not answer within", "sync": "read nothing of the request for"}
            with pytest.raises(TimeoutFailedError, match=rf"{given_up[call.kind]} 0\.2 s"):
                call.with_options(url, timeout=0.2)("rerank", "q", ["a" * 30_000_000])
        gc.collect()

    async def test_each_part_of_a_request_that_is_sent_is_progress(self) -> None:
        loop = asyncio.get_running_loop()
        body, limits = os.urandom(150_000), []
        async with asyncio.timeout(None) as silence, RerankClient(timeout=3600) as client:
            sent = bytearray()
            async for part in client._sent(body, silence):
                sent += part
                limits.append(silence.when())
                silence.reschedule(None)
            limits.append(silence.when())
        assert sent == body
        assert len(limits) == 4
        assert all(limit and loop.time() + 3000 < limit <= loop.time() + 3600 for limit in limits)

    def test_an_answer_that_breaks_off_is_a_lost_connection(self, call: Caller, server: FakeServer) -> None:
        server.behave = lambda _: Answer(content=b"{", headers={"Content-Length": "10", "Connection": "close"})
        with pytest.raises(ConnectionFailedError):
            call.with_options(server.url, max_retries=0)("rerank", "q", ["a"])

    async def test_timeouts_are_caught_as_asyncio_timeout_errors(self, server: FakeServer) -> None:
        server.behave = server.never_answer
        async with RerankClient(server.url, timeout=0.1) as client:
            try:
                await client.rerank("q", ["a"])
            except asyncio.TimeoutError:  # noqa: UP041  # as users write it
                return
        raise AssertionError

    @pytest.mark.parametrize("remade", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
    @pytest.mark.parametrize("kind", [TimeoutFailedError, OverloadedError])
    def test_timeouts_keep_their_details(self, kind: type[RerankError], remade: Any) -> None:
        error = remade(kind("slow", 504, "abc", 2.0))
        assert type(error) is kind
        assert (error.message, error.status, error.request_id, error.retry_after) == ("slow", 504, "abc", 2.0)
        assert str(error) == "HTTP 504: slow (request id abc)"
        assert error.args == ("slow",)


ATTACK = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\u2066\x7f\r\b"


class TestTerminal:
    @pytest.mark.parametrize("options", [[], ["--json"]], ids=["table", "json"])
    def test_a_terminal_shows_control_characters_of_documents_escaped(
        self, server: FakeServer, capsys: pytest.CaptureFixture[str], options: list[str]
    ) -> None:
        assert main(["q", ATTACK, "--base-url", server.url, *options]) == 0
        out = capsys.readouterr().out
        assert not rerank_client._UNPRINTABLE.search(out.replace("\n", ""))
        assert r"\u001b]0;owned\u0007" in out
        if options:
            assert json.loads(out)[0]["document"] == ATTACK

    def test_a_terminal_shows_control_characters_of_errors_escaped(
        self, server: FakeServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.script.append(Answer(400, {"error": {"message": f"no {ATTACK}"}}))
        assert main(["q", "a", "--base-url", server.url]) == 1
        err = capsys.readouterr().err
        assert not rerank_client._UNPRINTABLE.search(err.replace("\n", ""))
        assert err.startswith(r"rerank: HTTP 400: no \u001b]0;owned")

    def test_a_terminal_shows_a_bounded_error(self, server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
        server.script.append(Answer(400, {"error": {"message": "x" * 1_000_000}}))
        assert main(["q", "a", "--base-url", server.url]) == 1
        assert len(capsys.readouterr().err) < 3000

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
    @pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
    def test_a_terminal_with_few_characters_shows_escapes(self, server: FakeServer, encoding: str) -> None:
        ours, theirs = os.openpty()
        command = [sys.executable, SCRIPT, "熊猫", "机器学习 🐼 é", "--base-url", server.url]
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "200"}
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        shown = read_all(ours)
        assert process.wait(60) == 0, shown
        assert "Error" not in shown
        assert "1.0000" in shown
        assert "机器学习" in shown if encoding == "gbk" else r"\u673a" in shown


def read_all(terminal: int, encoding: str = "gbk") -> str:
    """What is shown until the program ends."""
    deadline, shown = time.monotonic() + 60, b""
    while time.monotonic() < deadline:
        try:
            piece = os.read(terminal, 65_536)
        except OSError:  # Linux says so at the end
            break
        if not piece:
            break
        shown += piece
    os.close(terminal)
    return shown.decode(encoding, "replace")
