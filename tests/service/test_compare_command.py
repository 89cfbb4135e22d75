"""`rerank compare` asks real servers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from rerank.cli.main import main
from rerank.core import Finished, PendingLogits
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from tests.support.app import MODEL, OTHER_MODEL, EmbeddingScorer, GatedScorer
from tests.support.settings import forget_settings

from .conftest import Serve

Compare = Callable[..., int]
WORDS = ["capital", "city", "France", "Paris", "cheese", "bread", "river", "Berlin"]


class UntrainedHead(WordOverlapScorer):
    """Scores that have nothing to do with the query: those of a head of random weights."""

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        return Finished([random.Random(" ".join(pair.document)).gauss() for pair in batch])


class UndecidedScorer(WordOverlapScorer):
    """Gives every document the same score."""

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        return Finished([0.0] * len(batch))


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    forget_settings(monkeypatch, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve queries of two words, with documents of which some share none, one or both."""
    chance = random.Random(3)
    lines = (
        {
            "query": " ".join(chance.sample(WORDS, 2)),
            "documents": [" ".join(chance.sample(WORDS, 3)) for _ in range(12)],
        }
        for _ in range(12)
    )
    file = tmp_path / "data.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    return file


@pytest.fixture
def compare(serve: Serve, data: Path) -> Compare:
    """Run the command on the models of two servers."""

    def run(model: Any, reference: Any, *options: str) -> int:
        ours, theirs = (f"http://127.0.0.1:{serve(scorer)[1].port}" for scorer in (model, reference))
        servers = ("--server", ours, "--reference-server", theirs)
        return main(["compare", MODEL.id, MODEL.id, "--on", str(data), *servers, *options])

    return run


def test_the_same_model_on_two_servers_agrees_fully(
    compare: Compare, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plot = tmp_path / "scores.svg"
    assert compare(EmbeddingScorer(), EmbeddingScorer(), "--json", "--at-least", "1", "--plot", str(plot)) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["queries"], found["pairs"], found["agreement"]) == (12, 144, "very high")
    assert found["measures"]["largest_difference"] == 0
    assert found["measures"]["consistency"] == pytest.approx(1)
    vectors = found["vectors"]
    assert (vectors["mean"], vectors["minimum"]) == (pytest.approx(1), pytest.approx(1))
    assert vectors["deviation"] == pytest.approx(0, abs=1e-6)
    assert vectors["texts"] > 32
    assert len(found["per_query"]) == 12
    assert plot.read_text(encoding="utf-8").count(f"{MODEL.id} at http://127.0.0.1:") == 2


def test_a_reference_with_a_random_head_is_no_agreement(compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(WordOverlapScorer(), UntrainedHead(), "--at-least", "0.99") == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1] == "agreement: no"
    assert "rerank: consistency is " in printed.err
    assert "less than 0.99" in printed.err
    assert "cosine" not in printed.out


def test_a_model_that_scores_everything_the_same_is_no_agreement(
    compare: Compare, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compare(UndecidedScorer(), WordOverlapScorer()) == 0
    out = capsys.readouterr().out
    assert "of 12 queries: only acme/words at http://127.0.0.1:" in out
    assert out.splitlines()[-1] == "agreement: no"


def test_a_measure_that_is_undefined_does_not_suffice(compare: Compare, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(WordOverlapScorer(), WordOverlapScorer(), "--measure", "cosine", "--at-least", "0") == 1
    assert capsys.readouterr().err.endswith("rerank: cosine is undefined\n")


def test_two_names_of_one_model_on_one_server_are_refused(
    serve: Serve, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, server = serve()
    address = f"http://127.0.0.1:{server.port}"
    command = ["compare", "the-words", "--on", str(data), "--server", address]
    assert main([*command, MODEL.id]) == 2
    assert "rerank: the-words and acme/words are the same model\n" in capsys.readouterr().err
    assert main([*command, "ACME/Words", "--reference-server", address]) == 2
    assert main([*command, OTHER_MODEL.id, "--at-least", "1"]) == 0


def test_a_key_is_sent_to_no_other_server(serve: Serve, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, open_server = serve()
    _, closed_server = serve(keys=("a-secret-key",))
    ours, theirs = (f"http://127.0.0.1:{server.port}" for server in (open_server, closed_server))
    command = ["compare", MODEL.id, MODEL.id, "--on", str(data), "--server", ours, "--reference-server", theirs]
    assert main([*command, "--api-key", "a-secret-key"]) == 3
    assert "rerank: the server: HTTP 401" in capsys.readouterr().err
    assert main([*command, "--reference-api-key", "a-secret-key"]) == 0


def test_an_unknown_reference_is_noticed_before_anything_is_scored(
    serve: Serve, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scorer = GatedScorer()
    scorer.gate.set()
    _, server = serve(scorer)
    command = ["compare", MODEL.id, "nothing", "--on", str(data), "--server", f"http://127.0.0.1:{server.port}"]
    assert main(command) == 3
    assert "rerank: the server: HTTP 404: The model `nothing` does not exist." in capsys.readouterr().err
    assert scorer.seen == [{"document"}]
