"""`rerank rank`: files in, files out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rerank.cli.main import main
from rerank.evaluation.bulk import running

LINES = '{"id": 1, "query": "panda", "documents": ["bear", "giant panda"]}\n{\n{"query": "x", "documents": ["x"]}\n'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "in.jsonl"
    file.write_text(LINES, encoding="utf-8")
    return file


def test_every_line_is_answered_or_has_its_error(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rank", str(source), "--model", "LEXICAL", "--output", "out.jsonl"]) == 1
    first, second, third = map(json.loads, (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines())
    assert (first["id"], first["model"], [result["index"] for result in first["results"]]) == (1, "lexical", [1, 0])
    assert second["error"].startswith(f"{source}:2: is not JSON")
    assert third["query"] == "x"
    errors = capsys.readouterr().err
    assert "3 queries, 3 pairs in " in errors
    assert "1 of 3 queries have an error; the first: " in errors


def test_an_interrupted_run_goes_on(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ctrl_c: Callable[[], None],
) -> None:
    command = ["rank", str(source), "--model", "lexical", "--output", "out.jsonl"]
    outcomes = running._outcome

    async def until_second(*arguments: object) -> object:
        if arguments[-1].error:  # type: ignore[attr-defined]
            ctrl_c()
            await asyncio.Event().wait()
        return await outcomes(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(running, "_outcome", until_second)
        assert main(command) == 130
    (part,) = tmp_path.glob("out.jsonl.*.part")
    assert f"{part.name} has what is done" in capsys.readouterr().err
    part.write_text(json.dumps({"query": "panda", "mark": "kept"}) + '\n{"brok', encoding="utf-8")
    assert main(command) == 1
    assert "going on after 1 queries of " in capsys.readouterr().err
    first, _, _ = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(first)["mark"] == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_run_of_trec_becomes_one_with_texts_from_files(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "q.tsv").write_text("1\tpanda\n", encoding="utf-8")
    (tmp_path / "c.jsonl").write_text('{"_id": "a", "text": "bear"}\n{"_id": "b", "text": "panda"}\n', encoding="utf-8")
    (tmp_path / "in.run").write_text("1 Q0 a 1 2.0 x\n1 Q0 b 2 1.0 x\n2 Q0 a 1 2.0 x\n", encoding="utf-8")
    options = ["--queries", "q.tsv", "--corpus", "c.jsonl", "--model", "lexical"]
    assert main(["rank", "in.run", *options]) == 1
    printed = capfd.readouterr()
    assert [line.split()[:4] for line in printed.out.splitlines()] == [["1", "Q0", "b", "1"], ["1", "Q0", "a", "2"]]
    assert "rerank: in.run:3: query '2' has no text\n" in printed.err


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["none.jsonl"], 2, "none.jsonl: cannot be read (No such file or directory)"),
        (["in.jsonl", "--output", "in.jsonl"], 2, "in.jsonl exists; name another output"),
        (["in.jsonl", "--output", "none/out"], 2, "none is not a folder"),
        (["in.jsonl", "--model", "BAAI/bge-reranker-base"], 3, "is not on disk; fetch it first"),
        (["in.jsonl", "--model", "nope"], 2, "The model `nope` does not exist"),
        (["in.jsonl", "--model", ""], 2, "the name of a model is empty"),
        (["in.jsonl", "--server", "localhost:8000"], 2, "--server localhost:8000: base_url must be like"),
        (["in.jsonl", "--server", "http://127.0.0.1:9"], 3, "the server: cannot reach"),
        (["in.parquet"], 2, "in.parquet: its suffix tells no format; give --format"),
        (["in.jsonl", "--corpus", "c.tsv"], 2, "--queries and --corpus belong to a TREC run"),
        (["in.run"], 2, "--queries and --corpus belong to a TREC run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("source")
def test_what_cannot_begin_says_why(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["rank", "--model", "lexical", *arguments]) == status
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_empty_input_is_an_empty_output(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").touch()
    assert main(["rank", "in.jsonl", "--model", "lexical", "--output", "out"]) == 0
    assert (tmp_path / "out").read_bytes() == b""


def test_an_output_without_a_reader_ends_the_run_quietly(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def closed(_: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("rerank.evaluation.bulk.output._to_stdout", closed)
    assert main(["rank", str(source), "--model", "lexical"]) == 141
    assert capsys.readouterr().err == ""
