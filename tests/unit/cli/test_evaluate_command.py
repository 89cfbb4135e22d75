"""`rerank evaluate`: its table, its JSON, its page, its errors, and how it goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rerank.cli.main import main
from rerank.evaluation.rankers import Asked, EngineRankers, Ranked
from tests.unit.cli.conftest import InterruptOnce
from tests.unit.evaluation.folders import beir

CARDS = """
[[model]]
id = "again"
aliases = ["once-more"]
fallback = ["lexical"]
"""
RUN = "q1 Q0 d2 1 2 x\nq1 Q0 d1 2 1 x\nq2 Q0 d3 1 2 x\nq2 Q0 d4 2 1 x\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder in which the first stage has the wrong order for one of two queries."""
    (tmp_path / "models.toml").write_text(CARDS)
    monkeypatch.setenv("RERANK_MODELS_FILE", str(tmp_path / "models.toml"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return str(beir(tmp_path / "data", {"run.trec": RUN}))


def test_the_table_has_a_row_for_the_first_stage_and_each_model(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", data, "lexical", "again", "--measure", "RR", "--measure", "nDCG@10"]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert lines[0].split() == ["ranker", "RR", "nDCG@10", "pairs/s", "tokens"]
    rows = {line[:11].strip(): line[11:].split() for line in lines}
    assert rows["first stage"][0] == "0.7500"
    assert rows["lexical"][:2] == rows["again"][:2] == ["1.0000", "1.0000"]
    assert lines[3].split() == ["0.500-1.000", "0.631-1.000"]
    # a narrow terminal folds it
    note = " ".join(shown.split())
    assert "data: 2 queries, 4 pairs." in note
    assert "against lexical." in note


def test_json_has_all_figures(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", data, "lexical", "--json", "--depth", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {name: found[name] for name in ("data", "queries", "pairs", "depth", "seed", "reference")} == {
        "data": "data",
        "queries": 2,
        "pairs": 2,
        "depth": 1,
        "seed": 0,
        "reference": "lexical",
    }
    first, model = found["rankers"]
    assert list(first["measures"]) == ["nDCG@10", "RR@10", "AP", "R@10"]
    assert first["measures"]["RR@10"] == model["measures"]["RR@10"] | {"p": 1.0}
    assert model["measures"]["RR@10"] == {"mean": 0.5, "low": 0.0, "high": 1.0, "p": None}
    assert first["tokens"] is first["seconds"] is None
    assert model["tokens"] > 0


def test_the_effect_of_normalised_texts_is_a_column(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The stand-in for a model knows ASCII alone."""
    asked: list[str] = []

    async def ask(self: EngineRankers, name: str, query: str, documents: Sequence[str], options: Asked) -> Ranked:
        asked.append(query)
        order = (1, 0) if query.isascii() else (0, 1)
        return Ranked((0.5, 0.5), order, 1, 1.0)

    monkeypatch.setattr(EngineRankers, "ask", ask)
    (Path(data) / "queries.tsv").write_text("q1\t\uff52ed apples\nq2\tpandas\n", encoding="utf-8")
    command = ["evaluate", data, "lexical", "--queries", f"{data}/queries.tsv", "--measure", "RR", "--normalize"]
    assert main(command) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["ranker", "RR", "nfkc", "pairs/s", "tokens"]
    assert next(line for line in lines if line[:1] == ["lexical"])[1:3] == ["0.5000", "+0.2500"]
    assert sorted(asked) == ["pandas", "red apples", "\uff52ed apples"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rankers"][1]["normalize"] == {"RR": {"difference": 0.25, "p": 1.0}}


def test_a_page_is_written(data: str, tmp_path: Path) -> None:
    assert main(["evaluate", data, "lexical", "--html", str(tmp_path / "page.html")]) == 0
    assert "Worst queries of lexical" in (tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lexical", "LEXICAL"], "lexical and LEXICAL are the same model"),
        (["again", "lexical", "once-more"], "again and once-more are the same model"),
        (["lexical", "--measure", "nDGC"], "'nDGC' is not a measure (measure not found: nDGC). Measures are nDCG@10, "),
        (["lexical", "--html", "nowhere/page.html"], "--html: there is no folder nowhere"),
        (["lexical", "--server", "localhost:8000"], "--server localhost:8000: base_url must be like http://host:8000"),
        (
            ["lexical", "--server", "http://a", "--api-key", "\u00e9"],
            "--server http://a: api_key must be printable ASCII",
        ),
        (["lexical", "--qrels", "nowhere.tsv"], "nowhere.tsv: cannot be read (No such file or directory)"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    arguments: list[str], message: str, data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", data, *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"rerank: {message}")


def test_a_negative_seed_is_refused_before_anything_is_scored(
    data: str, interrupt_once: InterruptOnce, capsys: pytest.CaptureFixture[str]
) -> None:
    answered = interrupt_once(lambda *_: False)
    assert main(["evaluate", data, "lexical", "--seed", "-1"]) == 2
    assert "'--seed'" in capsys.readouterr().err
    assert answered == []


def test_data_that_is_missing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "none"), "lexical"]) == 2
    assert "none: there is no such file or folder" in capsys.readouterr().err


def test_an_interrupted_run_goes_on_and_leaves_nothing(
    data: str, tmp_path: Path, interrupt_once: InterruptOnce, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt_once(lambda _, answered: len(answered) == 3)
    command = ["evaluate", data, "lexical", "again"]
    assert main(command) == 130
    assert capsys.readouterr().err.endswith("rerank: interrupted; run the same command again to go on\n")
    assert len(list((tmp_path / "cache").rglob("*.jsonl"))) == 1
    assert main(command) == 0
    assert not list((tmp_path / "cache").rglob("*.jsonl"))
