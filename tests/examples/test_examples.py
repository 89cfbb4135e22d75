"""Each example, run as its docstring says against one server, shows what it is there to show."""

from __future__ import annotations

import importlib
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.process.server import ROOT, clean_environment
from tests.support.installed import sdk_environment
from tests.support.kept import share_kept_networks
from tests.support.whole import whole_server

EXAMPLES = ROOT / "examples"
NAMES = sorted(file.name for file in EXAMPLES.glob("*.py") if file.name != "common.py")
WITH_SDKS = ("two_stage.py", "langchain_rag.py", "llamaindex_rag.py")
WITHOUT_SERVER = ("python_api.py",)
NOWHERE = "http://127.0.0.1:9"
MODEL = "sentence-transformers/all-MiniLM-L6-v2"

Run = Callable[..., str]


@pytest.fixture(scope="module")
def sdks() -> Path:
    """A virtual environment with the frameworks of the examples."""
    return sdk_environment("cohere5")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with the examples' models.toml."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(EXAMPLES / "models.toml", folder)
    with whole_server(folder, default_model=MODEL) as url:
        # loads the model, which may take longer than the frameworks' clients wait
        requests.post(f"{url}/v1/rerank", json={"query": "q", "documents": ["d"]}, timeout=600).raise_for_status()
        yield url


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs an example within this process; what it printed."""

    def output_of(name: str, url: str, *arguments: str) -> str:
        monkeypatch.setenv("RERANK_BASE_URL", url)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.syspath_prepend(EXAMPLES)
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return output_of


@pytest.fixture(scope="module")
def outputs(sdks: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What those examples printed that need other packages, all at the same time: their imports take seconds."""
    python = str(sdks / "bin" / "python")
    folder = tmp_path_factory.mktemp("client")
    environment = clean_environment(folder) | {"PYTHONPATH": "", "RERANK_BASE_URL": server}

    def output_of(name: str) -> str:
        ended = subprocess.run(
            [python, str(EXAMPLES / name)], env=environment, cwd=folder, text=True, capture_output=True
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    with ThreadPoolExecutor(len(WITH_SDKS)) as processes:
        return dict(zip(WITH_SDKS, processes.map(output_of, WITH_SDKS), strict=True))


@pytest.mark.timeout(600)
def test_two_stages_rank_better_than_the_vectors_of_the_first(outputs: dict[str, str]) -> None:
    output = outputs["two_stage.py"]
    found = re.search(r"nDCG@10 recalled (\S+), reranked by (\S+) (\S+)$", output.strip())
    assert found, output
    assert found[2] == MODEL
    assert float(found[3]) > float(found[1]) > 0.5
    assert output.count("recalled:") == output.count("reranked:") == 12


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "first", "text", "question"),
    [
        ("langchain_rag.py", {"care-4", "care-6"}, "Tray and grid may go into the dishwasher", "into the dishwasher?"),
        ("llamaindex_rag.py", {"coffee-1"}, "make the grind finer", "My espresso comes out much too quickly"),
    ],
)
def test_a_prompt_holds_the_best_passages(
    outputs: dict[str, str], name: str, first: set[str], text: str, question: str
) -> None:
    ranked, prompt = outputs[name].split("The prompt:")
    rows = re.findall(r"^(\d\.\d+)  (\S+)$", ranked, re.MULTILINE)
    assert {passage for _, passage in rows[: len(first)]} == first
    assert len(rows) == 3
    assert [score for score, _ in rows] == sorted((score for score, _ in rows), reverse=True)
    assert text in prompt
    assert question in prompt


@pytest.mark.timeout(600)
def test_requests_under_a_limit_are_all_answered(run: Run, server: str) -> None:
    output = run("async_many.py", server, "48")
    assert "48 messages in" in output
    assert "failed" not in output
    departments = dict(line.split(maxsplit=1)[::-1] for line in output.splitlines()[:12])
    assert departments["Which part is 4420?"] == "shop"
    assert departments["My espresso comes out much too quickly"] == "baristas"


def test_chunks_find_what_cutting_loses(run: Run, server: str) -> None:
    cut, rest = run("long_documents.py", server).split("In chunks")
    chunks, excerpt = rest.split("The best chunk of ")
    chapters = [re.findall(r"^ +\d\.\d+  (\w+)", part, re.MULTILINE) for part in (cut, chunks)]
    assert (chapters[0][0], chapters[1][0]) == ("Setup", "Care")
    assert (cut.count("tokens, cut"), chunks.count("read to its end")) == (5, 5)
    assert excerpt.startswith("Care")
    assert "nothing can freeze" in excerpt


def test_the_fallback_says_who_answered(run: Run, server: str) -> None:
    alone, chain, requested = re.split(r"^(?=\w)", run("fallback.py", server), flags=re.MULTILINE)[1:]
    assert "no answer: HTTP 502" in alone
    assert f"model: {MODEL}, degraded: True" in chain
    assert re.findall(r"asked: (\S+): (\w+)", chain) == [
        ("local", "WeightsMissing"),
        ("far", "UpstreamFailed"),
        (MODEL, "ok"),
    ]
    assert "best:  Water under the machine" in chain
    assert "model: lexical, degraded: True" in requested


def test_the_fallback_explains_which_models_file_it_needs(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with whole_server(tmp_path) as plain, pytest.raises(SystemExit, match=r"needs RERANK_MODELS_FILE=examples"):
        run("fallback.py", plain)


@pytest.mark.timeout(600)
def test_the_example_of_a_comparison_shows_each_model(run: Run, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    some = importlib.import_module("common").questions()[:4]
    monkeypatch.setattr("common.questions", lambda: some)
    output = run("compare_models.py", server, "hybrid", "lexical")
    rows = re.findall(r"^(\w+) +(\d\.\d+) +\d+  (\d+) of 4$", output, re.MULTILINE)
    (first, hybrid, same), (second, lexical, fewer) = rows
    assert (first, second, same) == ("hybrid", "lexical", "4")
    assert float(hybrid) > float(lexical)
    assert int(fewer) < 4


@pytest.mark.timeout(600)
def test_the_python_api_ranks_without_a_server(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODEL_DEVICE", "cpu")
    share_kept_networks(tmp_path / "models")
    output = run("python_api.py", NOWHERE)
    assert re.search(r"below my coffee maker.*\n +\d\.\d+  faults-8 ", output)
    espresso, parcel = (float(score) for score in re.findall(r"(-?\d\.\d+)  a cup of coffee", output))
    assert espresso > parcel


@pytest.mark.parametrize("name", sorted({*NAMES} - {*WITH_SDKS, *WITHOUT_SERVER}))
def test_without_a_server_an_example_says_how_to_start_one(run: Run, name: str) -> None:
    with pytest.raises(SystemExit, match=f"No rerank server at {NOWHERE}.*\n.*make serve"):
        run(name, NOWHERE)


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readmes_have_a_line_and_an_output_for_each_example(readme: str) -> None:
    text = (EXAMPLES / readme).read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[`(\w+\.py)`\]", text, re.MULTILINE)) == NAMES
    assert sorted(re.findall(r"^\$ python examples/(\w+\.py)", text, re.MULTILINE)) == NAMES
