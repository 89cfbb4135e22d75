"""Bodies that are walked through by their parts' names: each kind on each runtime against its own model."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import choose_device
from rerank.errors import WeightsBroken
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.layouts import Make, by_hand, embeddings, encoder, rewrite, saved_embeddings, then
from tests.parity.own_layouts import flash_by_hand, make_flash, make_new, new_by_hand

KINDS: dict[str, Make] = {
    "electra": partial(encoder, model_type="electra", embedding_size=32),
    "electra-whose-embeddings-are-narrower": partial(encoder, model_type="electra", embedding_size=16),
    "camembert": partial(encoder, model_type="camembert", pad_token_id=1),
    "distilbert": partial(encoder, model_type="distilbert", dim=32, n_layers=2, n_heads=4),
    "gte": partial(make_new, scaling={"factor": 8.0, "type": "ntk"}),
    "jina-reranker-v2": make_flash,
}
REFERENCES = {"gte": new_by_hand, "jina-reranker-v2": flash_by_hand}
"""Of those whose own code does not run; of the others, transformers itself."""
PAIRS = [("what is machine learning?", text) for text in ("a branch of AI", "", "机器学习", "one more word " * 12)]


@pytest.fixture(scope="module", params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reranker of the kind, which is its name; not to be written to."""
    made: Path = tmp_path_factory.mktemp("kinds") / request.param
    KINDS[request.param](made)
    return made


def load(folder: Path, runtime: str = "torch", precision: str = "fp32") -> Scorer:
    placement = Placement(choose_device("cpu", precision, runtime), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder), ModelCard(id=folder.name), placement)


def logits(scorer: Scorer, pairs: list[tuple[str, str]]) -> list[float]:
    return score(scorer, scorer.encode([Pair(*pair) for pair in pairs]))


def test_a_kind_scores_as_its_model_does_without_padding(folder: Path, runtime: str) -> None:
    scorer = load(folder, runtime)

    assert "sentence-transformers" not in scorer.runtime
    assert scorer.runtime.startswith("openvino") == (runtime == "openvino")
    assert logits(scorer, PAIRS) == pytest.approx(REFERENCES.get(folder.name, by_hand)(folder, PAIRS), abs=1e-4)


def test_scaled_positions_are_not_those_without_scaling(tmp_path: Path) -> None:
    KINDS["gte"](tmp_path / "scaled")
    make_new(tmp_path / "plain")
    scaled, plain = (logits(load(tmp_path / name), PAIRS) for name in ("scaled", "plain"))

    assert max(abs(one - other) for one, other in zip(scaled, plain, strict=True)) > 1e-2


def test_half_precision_ties_no_documents(folder: Path) -> None:
    words = ["machine", "learning", "branch", "word", "panda", "bear", "what", "more", "giant", "one"]
    pairs = [("what is it?", f"{first} {second}") for first in words for second in words]

    assert len(set(logits(load(folder, precision="bf16"), pairs))) == len(pairs)


@pytest.mark.parametrize("kind", ["electra-whose-embeddings-are-narrower", "distilbert"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_the_same_bodies_embed(tmp_path: Path, kind: str, pooling: str) -> None:
    folder = tmp_path / "tiny"
    make: Any = KINDS[kind]
    then(partial(make, body=True), partial(embeddings, pooling=pooling))(folder)
    scorer = load(folder)

    assert scorer.runtime == "torch fp32, sdpa attention"
    assert logits(scorer, PAIRS) == pytest.approx(saved_embeddings(folder, PAIRS), abs=1e-5)


def test_types_that_the_tokenizer_does_not_give_are_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    KINDS["electra"](folder)
    rewrite(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])

    assert logits(load(folder), PAIRS) == pytest.approx(by_hand(folder, PAIRS), abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "lost"), [("electra", "classifier.dense.weight"), ("distilbert", "pre_classifier.bias")]
)
def test_a_head_that_is_missing_is_never_random(tmp_path: Path, kind: str, lost: str) -> None:
    folder = tmp_path / "tiny"
    KINDS[kind](folder)
    weights = load_file(folder / "model.safetensors")
    del weights[lost]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(WeightsBroken, match=f"no fitting weights for {lost}"):
        load(folder)
