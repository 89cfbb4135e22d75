"""Every kind of model in one run, on tiny sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import families
from benchmarks.alone import engine_alone
from benchmarks.causal_checkpoints import RECIPES
from benchmarks.workload import QUERY, SIZES, checkpoint, documents
from rerank.core import Pair, Truncation
from rerank.scorers.base import finish
from rerank.scorers.causal.prompt import PromptTokenizer
from rerank.scorers.pretrained import open_tokenizer

TINY_ENCODER = {"layers": 2, "hidden": 32, "heads": 4, "inner": 64, "vocabulary": 1100}
TINY_CAUSAL = {
    "layers": 2,
    "hidden": 32,
    "heads": 2,
    "key_heads": 1,
    "inner": 64,
    "vocabulary": 3000,
    "positions": 1024,
}
OPTIONS = ["--documents", "3", "--repeat", "1", "--batch", "2", "--precisions", "fp32"]


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every size that is measured by default, and the one that is not, made tiny."""
    for name in families.ENCODERS:
        monkeypatch.setitem(SIZES, name, SIZES[name] | TINY_ENCODER)
    for name, facts in RECIPES.items():
        monkeypatch.setitem(
            RECIPES, name, facts | TINY_CAUSAL | {"spread": 0.2} | ({"head": 16} if "head" in facts else {})
        )


@pytest.mark.parametrize("encoder", families.ENCODERS)
def test_an_encoder_scores_as_in_sentence_transformers(
    encoder: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    families.main([*OPTIONS, "--models", encoder, "--folder", str(tmp_path)])

    found = re.findall(
        r"^(.+?)  .*logits within (\S+) of sentence-transformers fp32's.*x the floor$", _printed(capsys), re.M
    )
    apart = {name: float(value) for name, value in found}
    assert {"sentence-transformers fp32", "ours fp32"} <= apart.keys()
    assert apart["ours fp32"] < 1e-5


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_piece_of_a_prompt_is_a_token(recipe: str, tmp_path: Path) -> None:
    folder, prompt = checkpoint(recipe, tmp_path), RECIPES[recipe]["prompt"]
    text = documents(1)[0]
    tokenizer = PromptTokenizer(folder, prompt, 1024)

    (read,) = finish(tokenizer.reading([Pair(QUERY, text)], Truncation(), prompt.instruction))

    spelled = [str(open_tokenizer(folder).id_to_token(number)) for number in read.prefix + read.rest]
    assert "".join(spelled).endswith(prompt.whole(prompt.instruction, QUERY, text))
    assert "<unknown>" not in spelled
    assert len([word for word in spelled if re.fullmatch(r" ?w\d+", word)]) == len(text.split())


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_causal_reranker_runs_on_this_engines_own_body(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    families.main([*OPTIONS, "--models", recipe, "--folder", str(tmp_path)])

    printed = _printed(capsys)
    whole, *shared = (int(number) for number in re.findall(r"(\d+) tokens", printed))
    assert whole > sum(shared)
    assert len(shared) == (recipe != "llama-nemotron-rerank-1b")
    assert len(re.findall(r"x the floor", printed)) == 1 + len(shared)
    assert "sentence-transformers" not in printed
    with engine_alone(tmp_path / recipe, "fp32", tmp_path, families.card_of(recipe)) as run:
        assert len(set(run([Pair(QUERY, text) for text in documents(3)]))) == 3


def test_a_model_that_cannot_be_opened_is_named_and_the_next_one_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models = ["minilm", "zerank-1-small"]
    (checkpoint("minilm", tmp_path) / "tokenizer.json").write_text("{}")

    families.main([*OPTIONS, "--only", "ours", "--models", *models, "--folder", str(tmp_path)])

    assert re.findall(r"^(\S+) is not available: .+", _printed(capsys), re.M) == ["minilm"]


def test_the_default_leaves_out_what_does_not_fit() -> None:
    assert {*families.MODELS} == {*families.ENCODERS, "qwen3-0.6b", *RECIPES} - {"bge-reranker-v2-gemma"}


def _printed(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out
