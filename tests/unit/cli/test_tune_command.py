"""`rerank tune`: what it prints for a card."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rerank.cli import tune as command
from rerank.cli.main import main
from rerank.errors import SettingsError
from rerank.evaluation.rankers import DEFAULT_ASKED, Asked, Ranked

ENSEMBLES = {"blend": ("good", "upside down"), "twins": ("good", "also good"), "lonely": ("good",)}


class Rankers:
    """Models that rank numbers: rising, or falling."""

    async def identity(self, name: str) -> str:
        return name

    async def version(self, name: str) -> str:
        return "1"

    async def members(self, name: str) -> Sequence[str]:
        if name not in ENSEMBLES:
            raise SettingsError(f"{name} is not an ensemble")
        return ENSEMBLES[name]

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        scores = [float(document) for document in documents]
        scores = [1 - score for score in scores] if name == "upside down" else scores
        return Ranked(tuple(scores), tuple(range(len(scores))), len(scores), 0.01)


@pytest.fixture(autouse=True)
def rankers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @asynccontextmanager
    async def open_rankers(*_: Any) -> AsyncIterator[Rankers]:
        yield Rankers()

    monkeypatch.setattr(command, "open_rankers", open_rankers)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> str:
    file = tmp_path / "data.jsonl"
    documents = ["0.1", "0.9", "0.3", "0.2"]
    lines = [{"query": f"q{number}", "documents": documents, "relevances": [0, 1, 0, 0]} for number in range(12)]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(file)


def test_weights_are_printed_as_the_line_of_a_card(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "blend", "--on", data]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("blend: nDCG@10, 12 queries\n")
    ensemble = tomllib.loads(printed.splitlines()[-1])["ensemble"]
    assert (ensemble["models"], ensemble["fusion"]) == (["good", "upside down"], "weighted")
    assert ensemble["weights"][0] > ensemble["weights"][1]


def test_equal_weights_that_are_as_good_are_recommended(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "twins", "--on", data, "--to", "upside down"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("twins: Kendall's tau with upside down, 12 queries\n")
    assert "Equal weights are as good:" in printed
    assert tomllib.loads(printed.splitlines()[-1])["ensemble"] == {"models": ["good", "also good"], "fusion": "mean"}


def test_json_has_everything(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "blend", "--on", data, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["members"], told["queries"]) == (["good", "upside down"], 12)
    assert told["value"] == told["alone"][0] == 1
    assert told["toml"].startswith("ensemble = {")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good"], "good is not an ensemble"),
        (["lonely"], "lonely has one member"),
        (["blend", "--to", "good"], "good and good are the same model"),
        (["blend", "--measure", "nDGC"], "'nDGC' is not a measure"),
    ],
)
def test_wrong_usage_is_explained(
    data: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", *arguments, "--on", data]) == 2
    assert message in capsys.readouterr().err
