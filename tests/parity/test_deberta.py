"""DeBERTa on its own body: scores and vectors equal the libraries', with sequences longer than its near distances."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import choose_device
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.bert_cross_encoder.models import pair_model
from rerank.scorers.load import load_scorer
from tests.parity.layouts import Make, deberta, embeddings, rewrite, saved_cross_encoder, saved_embeddings, then

TEXTS = [
    ("what is machine learning?", text)
    for text in ("machine learning is a branch of AI", "", "one more word " * 30, "a", "giant panda " * 10, "b " * 50)
]
PAIRS = [Pair(*texts) for texts in TEXTS]
RERANKERS: dict[str, Callable[[Path], Path]] = {
    "v3": deberta,
    "v3 that embeds positions and types": partial(deberta, position_biased_input=True, type_vocab_size=2),
    "v2": partial(deberta, share_att_key=False, norm_rel_ebd="none", pos_att_type="c2p|p2c"),
    "without buckets": partial(deberta, position_buckets=-1, max_relative_positions=20),
    "narrow embeddings": partial(deberta, embedding_size=16),
    "another head": partial(deberta, pooler_hidden_act="tanh"),
}
CONVERTED = ("v3", "v2")


def load(folder: Path, runtime: str = "torch", precision: str = "fp32") -> Scorer:
    card = ModelCard(id=folder.name)
    placement = Placement(choose_device("cpu", precision, runtime), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


@pytest.mark.parametrize("name", RERANKERS)
def test_scores_equal_cross_encoder_predict(name: str, tmp_path: Path) -> None:
    folder = RERANKERS[name](tmp_path / "reranker")
    expected = saved_cross_encoder(folder, TEXTS)

    # converting takes seconds
    for runtime in ("torch", *(["openvino"] if name in CONVERTED else [])):
        scorer = load(folder, runtime)
        encoded = scorer.encode(PAIRS)
        assert "sentence-transformers" not in scorer.runtime
        assert max(pair.tokens for pair in encoded) > 90
        assert score(scorer, encoded) == pytest.approx(expected, abs=1e-4)
        assert score(scorer, encoded[3:4]) == pytest.approx(expected[3:4], abs=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_embedding_model_scores_by_the_cosine_of_its_vectors(tmp_path: Path, pooling: str) -> None:
    folder = tmp_path / "embeddings"
    then(partial(deberta, body=True), partial(embeddings, pooling=pooling))(folder)
    scorer = load(folder)

    assert scorer.runtime == "torch fp32, sdpa attention"
    assert score(scorer, scorer.encode(PAIRS)) == pytest.approx(saved_embeddings(folder, TEXTS), abs=1e-5)


def test_a_gpu_gets_no_packed_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerank.scorers.networks.runs_packed", lambda _: True)
    scorer = load(deberta(tmp_path / "reranker"), precision="bf16")

    assert scorer.padded
    # 12 vectors of 32 numbers and 3 of 64, and 8 scores of 4 heads with 128 tokens
    assert scorer.bytes_per_token == 4 * (12 * 32 + 3 * 64) + 4 * 8 * 4 * 128
    assert scorer.runtime == "torch bf16, sdpa attention"


def test_half_precision_ties_no_documents(tmp_path: Path) -> None:
    folder = deberta(tmp_path / "reranker", initializer_range=0.2)
    words = ["machine", "learning", "branch", "word", "panda", "bear", "what", "more", "giant", "one"]
    pairs = [Pair("what is it?", f"{first} {second}") for first in words for second in words]
    exact, half = (load(folder, precision=precision) for precision in ("fp32", "bf16"))

    expected, found = (score(scorer, scorer.encode(pairs)) for scorer in (exact, half))

    assert len(set(found)) == len(pairs)
    assert found == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    "make",
    [
        partial(deberta, relative_attention=False),
        partial(deberta, pos_att_type=["c2p"]),
        partial(deberta, conv_kernel_size=3),
        partial(deberta, pooler_hidden_act="silu"),
        then(deberta, lambda folder: rewrite(folder / "config.json", max_position_embeddings=None)),
    ],
    ids=["absolute", "one kind of score", "convolved", "head", "length not said"],
)
def test_what_is_not_computed_here_is_left_to_sentence_transformers(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "reranker")

    assert pair_model(read_checkpoint(tmp_path / "reranker")) is None
    loaded: Any = load(tmp_path / "reranker")
    assert "sentence-transformers" in loaded.runtime
