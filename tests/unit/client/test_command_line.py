"""The file as a command."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import Any

import pytest

import rerank_client
from rerank_client import main

from . import ROOT
from .server import Answer, FakeServer

SCRIPT = str(ROOT / "rerank_client.py")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_table_is_ranked(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["q", "ab\ncd", "a", "--base-url", server.url]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "rank     score  index  document",
        "   1    1.0000      0  ab cd",
        "   2    0.2000      1  a",
    ]
    assert err == ""


def test_a_row_is_cut_to_the_terminal(
    server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    main(["q", "熊猫熊猫熊猫", "--base-url", server.url])
    assert capsys.readouterr().out.splitlines()[1] == "   1    1.0000      0  熊猫熊…"


def test_json_is_one_array(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.script.append(Answer(content={"results": [{"index": 1, "relevance_score": 0.25}]}))
    assert main(["q", "--json", "--top-n", "1", "--model", "bge", "a", "熊", "--base-url", server.url]) == 0
    out = capsys.readouterr().out
    assert json.loads(out) == [{"index": 1, "relevance_score": 0.25, "document": "熊"}]
    assert "熊" in out
    assert server.last.content == {"query": "q", "documents": ["a", "熊"], "top_n": 1, "model": "bge"}


@pytest.mark.parametrize("words", [["--", "-q", "-a", "--b"], ["q", "--json", "--", "-a", "--b"]])
def test_what_follows_two_dashes_may_start_with_one(server: FakeServer, words: list[str]) -> None:
    assert main(["--base-url", server.url, *words]) == 0
    assert server.last.content["documents"] == ["-a", "--b"]


def test_an_empty_query_stays_the_query(server: FakeServer) -> None:
    assert main(["", "a", "--base-url", server.url]) == 0
    assert server.last.content == {"query": "", "documents": ["a"]}


def test_documents_come_from_standard_input(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\ufeff熊\r\n\n  \nb\xa0c\n last".encode())))
    monkeypatch.setenv("RERANK_BASE_URL", server.url + "/v1")
    monkeypatch.setenv("RERANK_API_KEY", " , first , second")
    assert main(["q"]) == 0
    assert server.last.content["documents"] == ["熊", "b\xa0c", " last"]
    assert server.last.headers["Authorization"] == "Bearer first"


def test_options_win_over_the_environment(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_BASE_URL", "http://nowhere.invalid")
    monkeypatch.setenv("RERANK_API_KEY", "environment")
    assert main(["q", "a", "--base-url", server.url, "--api-key", "option,other"]) == 0
    assert server.last.headers["Authorization"] == "Bearer option"


@pytest.mark.parametrize(
    ("argv", "stdin", "complaint"),
    [
        (["q"], Terminal("typed"), "no documents"),
        (["q"], io.StringIO("\n \n"), "no documents"),
        ([], io.StringIO("a"), "no query"),
        (["q", "a", "--top-n", "x"], io.StringIO(), "--top-n"),
        (["q", "a", "--timeout", "0"], io.StringIO(), "timeout must be"),
        (["q", "a", "--base-url", "localhost:8000"], io.StringIO(), "base_url must be"),
    ],
)
def test_wrong_usage_is_2(
    argv: list[str], stdin: Any, complaint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(SystemExit) as caught:
        main(argv)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err


def test_an_error_is_one_line(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.script.append(Answer(404, {"error": {"message": "no model x;\nthere is bge"}}, {"X-Request-Id": "abc"}))
    assert main(["q", "a", "--base-url", server.url]) == 1
    assert capsys.readouterr() == ("", "rerank: HTTP 404: no model x; there is bge (request id abc)\n")


@pytest.mark.parametrize(("error", "line"), [(KeyboardInterrupt(), "interrupted"), (ImportError("no x"), "no x")])
def test_what_stops_the_command_is_one_line(
    error: BaseException, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise error

    monkeypatch.setattr(rerank_client, "_client_for", stop)
    assert main(["q", "a"]) == 1
    assert capsys.readouterr().err == f"rerank: {line}\n"


def test_help_has_examples_and_no_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_API_KEY", "secret-key")
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "examples:" in out
    assert "secret-key" not in out


def test_the_file_runs_alone_whatever_the_locale(server: FakeServer) -> None:
    command: list[str | bytes] = [
        sys.executable,
        "-I",
        "-X",
        "utf8=0",
        "-W",
        "error",
        SCRIPT,
        "熊".encode(),
        b"bad \xff byte",
        "--json",
    ]
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([*command, "--base-url", server.url], env=environment, capture_output=True, check=False)
    assert done.stderr == b""
    assert done.returncode == 0
    assert json.loads(done.stdout.decode())[0]["document"] == "bad \ufffd byte"
    assert server.last.content["query"] == "熊"


def test_a_reader_that_has_gone_is_no_traceback(server: FakeServer) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, SCRIPT, "q", "a", "--base-url", server.url]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
