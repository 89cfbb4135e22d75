"""`rerank calibrate`: what it fits, writes and prints, and when it writes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rerank.catalog.calibrations import read_calibration
from rerank.cli import calibrate as command
from rerank.cli.main import main
from rerank.evaluation.rankers import DEFAULT_ASKED, Asked, Ranked

QUERIES = 12
DOCUMENTS = 8
WEIGHTS = "a" * 32


class Numbers:
    """Models whose scores are made of the number that a document is: ``model``, its cube ``api``, and ``noise``."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, bool | None]] = set()

    async def identity(self, name: str) -> str:
        return f"acme/{name}"

    async def version(self, name: str) -> str:
        return "1"

    async def weights(self, name: str) -> str:
        return WEIGHTS

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        self.asked.add((name, asked.calibrated))
        scores = [float(document) for document in documents]
        if name == "api":
            scores = [score**3 for score in scores]
        if name == "noise":
            scores = [score * 7919 % 1 for score in scores]
        return Ranked(tuple(scores), tuple(range(len(scores))), len(scores), 0.01)


@pytest.fixture
def rankers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Numbers:
    found = Numbers()

    @asynccontextmanager
    async def open_rankers(*_: Any) -> AsyncIterator[Numbers]:
        yield found

    monkeypatch.setattr(command, "open_rankers", open_rankers)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RERANK_MODELS_DIR", str(tmp_path / "home" / "models"))
    return found


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "data.jsonl"
    lines = []
    for query in range(QUERIES):
        numbers = [(query * 37 + document * 11) % 97 / 97 for document in range(DOCUMENTS)]
        relevances = [int(number > 0.6) for number in numbers]
        lines.append(json.dumps({"query": f"q{query}", "documents": list(map(str, numbers)), "relevances": relevances}))
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_a_reference_is_met_and_the_file_says_how(
    rankers: Numbers, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "model", "--to", "api", "--on", str(data)]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "home" / "calibrations" / "acme--model.json"
    assert printed.startswith(f"acme/model to acme/api: {QUERIES * DOCUMENTS} pairs of {QUERIES} queries\n")
    assert "<- chosen" in printed
    assert printed.endswith(f"written: {file}\n")
    written = read_calibration(file)
    assert (written.model, written.reference, written.weights) == ("acme/model", "acme/api", WEIGHTS)
    assert written(0.8) == pytest.approx(0.512, abs=0.02)
    # a calibration that the model has already is not mapped once more
    assert rankers.asked == {("model", False), ("api", None)}


def test_judgements_give_the_probability_of_relevance(
    rankers: Numbers, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "own.json"
    options = ["--labels", str(data), "--method", "isotonic", "--output", str(file), "--json"]
    assert main(["calibrate", "model", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["reference"], told["method"], told["file"]) == ("labels", "isotonic", str(file))
    assert told["after"]["pearson"] > told["before"]["pearson"]
    assert [read_calibration(file)(score) for score in (0.1, 0.9)] == [0, 1]
    assert rankers.asked == {("model", False)}


def test_where_there_is_no_agreement_nothing_is_written(
    rankers: Numbers, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", "model", "--to", "noise", "--on", str(data)]) == 1
    assert capsys.readouterr().err.startswith("rerank: no agreement, nothing was written: ")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("pipe", "--output: pipe is not a regular file"),
        ("link", "--output: link is not a regular file"),
        ("dangling", "--output: dangling is not a regular file"),
        ("folder", "--output: folder is not a regular file"),
        ("nowhere/own.json", "--output: there is no folder nowhere"),
    ],
)
def test_an_output_that_would_be_replaced_or_made_silently_is_refused_before_anything_is_scored(
    rankers: Numbers, data: Path, tmp_path: Path, output: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "dangling").symlink_to("elsewhere")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["calibrate", "model", "--to", "api", "--on", str(data), "--output", output]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert rankers.asked == set()


@pytest.mark.usefixtures("rankers")
def test_an_output_replaces_the_calibration_of_an_earlier_fit(data: Path, tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text("{}", encoding="utf-8")
    assert main(["calibrate", "model", "--to", "api", "--on", str(data), "--output", "own.json"]) == 0
    assert read_calibration(tmp_path / "own.json").reference == "acme/api"


@pytest.mark.usefixtures("rankers")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "give --to REFERENCE with --on DATA, or --labels DATA"),
        (["model", "--to", "api"], "give --to"),
        (["model", "--on", "DATA"], "give --to"),
        (["model", "--to", "api", "--on", "DATA", "--labels", "DATA"], "give --to"),
        (["model", "--to", "api", "--on", "nowhere"], "there is no nowhere"),
        (["model", "--to", "model", "--on", "DATA"], "model and model are the same model"),
    ],
)
def test_wrong_usage_is_explained(
    data: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["calibrate", *(argument.replace("DATA", str(data)) for argument in arguments)]) == 2
    assert message in capsys.readouterr().err
