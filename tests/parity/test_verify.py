"""The verify command, with the embedded model's real weights and with checkpoints that are not what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank.catalog import golden
from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.golden import GOLDEN, GoldenPair
from rerank.cli.main import main
from tests.support.tiny_checkpoints import make_bert, make_xlm_roberta


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setattr("rerank.cli.verify.configure_logging", lambda *_: None)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_embedded_model_gives_its_known_scores(
    precision: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_PRECISION", precision)

    assert main(["verify", "all-MiniLM-L6-v2"]) == 0
    assert "all scores are as known" in capsys.readouterr().out


def test_other_weights_under_a_known_name_are_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    make_xlm_roberta(Path("models/bge-reranker-base"))

    assert main(["verify", "bge-reranker-base"]) == 1
    said = capsys.readouterr().out
    pairs = len(GOLDEN["BAAI/bge-reranker-base"])
    assert f"{pairs} of {pairs} scores are not as known" in said
    assert said.count("<- differs") == pairs


def test_weights_that_are_not_there_are_told_with_the_command_that_fetches_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["verify", "bge-reranker-v2-m3"]) == 3
    assert "rerank pull BAAI/bge-reranker-v2-m3" in capsys.readouterr().err


def test_an_unknown_name_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "bge-reranker-bsae"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_a_model_without_known_scores_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "maidalun1020/bce-reranker-base_v1"]) == 2
    assert "no scores are known of maidalun1020/bce-reranker-base_v1" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["cross-encoder/ms-marco-MiniLM-L6-v2", "ms-marco-MiniLM-L6-v2"])
def test_a_folder_is_known_by_its_models_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make_bert(Path("models/ms-marco-MiniLM-L6-v2"))

    assert main(["verify", name]) == 1
    assert "8 of 8 scores are not as known" in capsys.readouterr().out


def test_half_precision_gets_more_room_but_not_any() -> None:
    assert [GoldenPair("q", "d", 0, tolerance).half_tolerance for tolerance in (1e-4, 2e-3, 2e-2)] == [5e-3, 0.1, 0.1]


UNPUBLISHED = {
    *(f"cross-encoder/ettin-reranker-{size}-v1" for size in ("17m", "400m", "1b")),
    *(f"hotchpotch/japanese-reranker-{size}-v2" for size in ("tiny", "xsmall", "small", "base")),
    "maidalun1020/bce-reranker-base_v1",
    "mixedbread-ai/mxbai-rerank-large-v2",
    "zeroentropy/zerank-1",
    "ContextualAI/ctxl-rerank-v2-instruct-multilingual-1b",
    "ContextualAI/ctxl-rerank-v2-instruct-multilingual-2b",
}


def test_scores_are_known_of_every_built_in_model_that_has_published_ones() -> None:
    assert {card.id for card in BUILT_IN if card.has_weights} - set(golden.GOLDEN) == UNPUBLISHED
