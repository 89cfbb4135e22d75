"""`rerank`: its commands and their help."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

import rerank
from rerank.cli import main as module
from rerank.cli import models
from rerank.cli.main import COMMANDS, download_main, main, server_main
from tests.unit.catalog.folders import write_checkpoint

ROOT = Path(__file__).parents[3]
HELPED = [[], *([command] for command in COMMANDS), ["key", "new"]]


def test_every_command_is_a_module() -> None:
    modules = {path.stem for path in (ROOT / "rerank" / "cli").glob("*.py")}
    assert modules - {"__init__", "evaluation", "main", "terminal"} == set(COMMANDS)


def test_every_script_of_the_project_is_a_function() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    assert set(scripts) == {"rerank", "rerank-server", "rerank-download"}
    for place in scripts.values():
        module_name, _, function = place.partition(":")
        assert callable(getattr(importlib.import_module(module_name), function))


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0]: line for line in lines if line.startswith("  ") and line.split()}
    assert all(listed[command].endswith(summary) for command, summary in COMMANDS.items())


@pytest.mark.parametrize("command", HELPED, ids=lambda command: " ".join(command) or "rerank")
def test_every_help_shows_examples(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: {' '.join(['rerank', *command])} ")
    examples = shown.split("examples:\n")[1].split("\n\n")[0].splitlines()
    assert all(f"rerank {command[0] if command else ''}" in line for line in examples)
    assert len(examples) >= 2


@pytest.mark.parametrize("command", [command for command in HELPED if command], ids=" ".join)
def test_the_help_of_every_command_documents_its_exit_status(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main([*command, "--help"])
    assert "exit status:\n    0  " in capsys.readouterr().out


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{rerank.__version__}\n"


def test_an_unknown_command_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pul"]) == 2
    assert "No such command 'pul'. Did you mean 'pull'" in capsys.readouterr().err


def test_wrong_settings_end_every_command_with_their_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", "http")
    assert [main([command]) for command in ("serve", "pull", "models", "ps", "health")] == [2] * 5
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 5
    assert all(line.startswith("rerank: RERANK_PORT / PORT: ") for line in errors)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([], ["serve"]),
        (["--port", "0"], ["serve", "--port", "0"]),
        (["--help"], ["serve", "--help"]),
        (["serve", "--port", "0"], ["serve", "--port", "0"]),
        (["models", "--url", "http://a:1"], ["ps", "--all", "--url", "http://a:1"]),
        (["verify", "name"], ["verify", "name"]),
        (["key", "new", "chat"], ["key", "new", "chat"]),
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_the_servers_own_entry_starts_the_server_unless_a_command_is_named(
    given: list[str], meant: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[list[str]] = []
    monkeypatch.setattr(module, "main", run.append)
    monkeypatch.setattr(sys, "argv", ["rerank-server", *given])
    server_main()
    assert run == [meant]


def test_the_downloaders_own_entry_pulls(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["rerank-download", "--list"])
    assert download_main() == 0
    assert "BAAI/bge-reranker-v2-m3" in capsys.readouterr().out


def test_models_lists_the_known_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "parameters", "size", "languages", "licence", "on", "disk"]
    assert any(row.startswith("BAAI/bge-reranker-base ") for row in rows)


@pytest.mark.parametrize(
    ("wishes", "kept", "left_out"),
    [
        ("zh", ["bge-reranker-base", "Qwen3-Reranker-8B"], ["ms-marco-MiniLM-L6-v2"]),
        ("fi", ["llama-nemotron-rerank-1b-v2"], ["mmarco-mMiniLMv2-L12-H384-v1"]),
        ("cpu, ZH,", ["bge-reranker-base", "bge-reranker-v2-m3"], ["Qwen3-Reranker-8B"]),
        ("commercial", ["zerank-1-small"], ["zerank-2"]),
    ],
)
def test_models_lists_those_for_every_wish(
    wishes: str, kept: list[str], left_out: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--for", wishes]) == 0
    names = {row.split()[0].rsplit("/", 1)[-1] for row in capsys.readouterr().out.splitlines()}
    assert names >= set(kept)
    assert not names & set(left_out)


@pytest.mark.parametrize("wish", ["xx", "中文", "*", "chinois"])
def test_an_unknown_wish_is_refused_with_those_there_are(wish: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--for", f"cpu,{wish}"]) == 2
    said = capsys.readouterr().err
    assert f"'{wish}' is none of cpu, commercial and the languages that models name. The languages are ar, bn, " in said
    assert ", vi, zh; models for many languages may read others." in said


@pytest.mark.parametrize(("wish", "meant"), [("cn", "zh"), ("JP", "ja"), ("chinese", "zh")])
def test_a_country_taken_for_its_language_is_refused_with_the_language(
    wish: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "--for", wish]) == 2
    assert f"'{wish.lower()}' is none of cpu, " in (said := capsys.readouterr().err)
    assert f"Did you mean {meant}? " in said


def test_every_language_that_is_suggested_is_one_that_a_model_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--for", ",".join(models._MEANT.values())]) == 0
    assert "BAAI/bge-reranker-v2-m3 " in capsys.readouterr().out


@pytest.mark.parametrize("wishes", ["", ",", " , "])
def test_no_wish_is_refused(wishes: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--for", wishes]) == 2
    assert "--for: it is empty; give cpu, commercial, or the two letters of a language" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["BAAI/bge-reranker-bas", "bge-reranker-bas"])
def test_verify_tells_an_unknown_name_with_the_nearest_ones(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", name]) == 2
    assert f"rerank: The model `{name}` does not exist. Known models: BAAI/bge-" in capsys.readouterr().err


def test_verify_tells_a_folder_without_known_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "maker" / "mine")
    assert main(["verify", "maker/mine"]) == 2
    assert capsys.readouterr().err == "rerank: no scores are known of mine\n"
