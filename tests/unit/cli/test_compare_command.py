"""`rerank compare` with the models of this machine: its table, its errors, and how it goes on after an interruption."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rerank.cli.main import main
from tests.unit.cli.conftest import InterruptOnce

CARDS = """
[[model]]
id = "again"
aliases = ["once-more"]
fallback = ["lexical"]
"""
LINES = (
    {"id": "q1", "query": "red apples", "documents": ["green pears", "red apples grow", "a red car"]},
    {"id": "q2", "query": "blue \x1b[31msky", "documents": ["the sky is blue", "[bold]sky", "grass"]},
    {"id": "q3", "query": "alone", "documents": ["alone"]},
    {"id": "q4", "query": "nothing", "documents": ["grass", "a car"]},
)


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "models.toml").write_text(CARDS)
    monkeypatch.setenv("RERANK_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, LINES)))
    return str(tmp_path / "data.jsonl")


def test_the_table_has_every_measure_and_the_worst_queries(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "lexical", "again", "--on", data, "--worst", "2"]) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "lexical against again on data: 4 queries, 9 pairs"
    values = [line[18:].split()[0] for line in lines[2:12]]
    assert values == [*["1.0000"] * 6, "-", "-", "0.0000", "0.0000"]
    assert "1 of 4 queries: neither side tells the documents apart; not counted" in lines
    assert "1 of 4 queries: there is one document; not counted" in lines
    heading = lines.index("least consistent queries, their largest difference, and the document that has it:")
    assert lines[heading + 2].split() == ["1.0000"] * 3 + ["-", "0.0000", "q1.1", "red", "apples"]
    assert lines[heading + 3].endswith(r"blue \u001b[31msky")
    assert lines[heading + 4 :] == ["", "agreement: very high"]


def test_json_has_every_query_and_no_number_for_what_is_undefined(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "lexical", "again", "--on", data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["model"], found["reference"]) == (
        {"name": "lexical", "server": None},
        {"name": "again", "server": None},
    )
    by_query = {query["id"]: query for query in found["per_query"]}
    assert by_query["q3"]["told_apart_by"] == "one document"
    assert by_query["q4"]["told_apart_by"] == "neither"
    assert by_query["q4"]["measures"]["pearson"] is by_query["q3"]["measures"]["top_1"] is None
    assert found["vectors"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lexical", "LEXICAL"], "lexical and LEXICAL are the same model"),
        (["again", "once-more"], "again and once-more are the same model"),
        (["lexical", "again", "--plot", "scores.pdf"], "--plot: the file's name must end in .svg or .png"),
        (["lexical", "again", "--plot", "nowhere/scores.svg"], "--plot: there is no folder nowhere"),
        (["lexical", "again", "--reference-server", "gpu:8000"], "--reference-server gpu:8000: base_url must be like"),
        (["lexical", "again", "--run", "nowhere.trec"], "data.jsonl: is not a folder"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    arguments: list[str], message: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments, "--on", data]) == 2
    assert message in capsys.readouterr().err


def test_an_interrupted_comparison_goes_on_and_leaves_nothing(
    data: str, tmp_path: Path, interrupt_once: InterruptOnce
) -> None:
    answered = interrupt_once(lambda question, _: question == "again: alone")
    command = ["compare", "lexical", "again", "--on", data]
    assert main(command) == 130
    assert list((tmp_path / "cache").rglob("*.jsonl"))
    assert main(command) == 0
    assert [answered.count(f"lexical: {line['query']}") for line in LINES] == [1, 1, 1, 1]
    assert not list((tmp_path / "cache").rglob("*.jsonl"))
