"""ModernBERT on its own body: scores and vectors equal the libraries', with sequences longer than its windows."""

from __future__ import annotations

import random
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
from rerank.scorers.bi_encoder.bert import bert_embedding
from rerank.scorers.load import load_scorer
from tests.parity.layouts import chain, encoder, rewrite, saved_cross_encoder, saved_embeddings
from tests.support.tiny_checkpoints import make_embedding_model, make_modernbert

PAIRS = [
    Pair("what is machine learning?", text)
    for text in ("machine learning is a branch of AI", "", "one more word " * 30, "a", "giant panda " * 10, "b " * 50)
]
BIASES: dict[str, Any] = dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True)


def make_chain(folder: Path, pooling: str, *, layers: int) -> Path:
    encoder(folder, "modernbert", body=True, num_hidden_layers=layers, local_attention=8)
    return chain(folder, pooling, normalised=pooling == "cls")


RERANKERS: dict[str, Callable[[Path], Path]] = {
    "first token": make_modernbert,
    "mean": partial(make_modernbert, classifier_pooling="mean"),
    "last layer in a window": partial(make_modernbert, layers=3, local_attention=5),
    "only windows": partial(make_modernbert, layer_types=["sliding_attention"] * 4),
    "no window": partial(make_modernbert, layer_types=["full_attention"] * 4),
    "biases": partial(make_modernbert, **BIASES, classifier_activation="relu"),
    "other angles": partial(make_modernbert, global_rope_theta=500.0, local_rope_theta=90.0),
    "modules": partial(make_chain, pooling="cls", layers=4),
    "modules of the mean": partial(make_chain, pooling="mean", layers=2),
}
CONVERTED = ("first token", "mean", "last layer in a window")


def load(folder: Path, runtime: str, precision: str = "fp32") -> Scorer:
    card = ModelCard(id=folder.name)
    placement = Placement(choose_device("cpu", precision, runtime), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


@pytest.mark.parametrize("name", RERANKERS)
def test_scores_equal_cross_encoder_predict(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RERANKERS[name](tmp_path / "reranker")
    expected = saved_cross_encoder(folder, [(pair.query, pair.document) for pair in PAIRS])
    # converting takes seconds
    for runtime in ("torch", "packed", *(["openvino"] if name in CONVERTED else [])):
        monkeypatch.setattr("rerank.scorers.networks.runs_packed", lambda _, packed=runtime == "packed": packed)
        check_scores(load(folder, runtime.replace("packed", "torch")), expected)


def check_scores(scorer: Scorer, expected: list[float]) -> None:
    encoded = scorer.encode(PAIRS)

    assert "sentence-transformers" not in scorer.runtime
    assert max(pair.tokens for pair in encoded) > 90
    assert score(scorer, encoded) == pytest.approx(expected, abs=1e-4)
    assert score(scorer, encoded[:1]) == pytest.approx(expected[:1], abs=1e-4)


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_embedding_model_scores_by_the_cosine_of_its_vectors(tmp_path: Path, pooling: str) -> None:
    folder = make_embedding_model(tmp_path / "embeddings", make_base=make_modernbert, pooling=pooling)
    scorer = load(folder, "torch")
    texts = [(pair.query, pair.document) for pair in PAIRS]

    assert bert_embedding(read_checkpoint(folder)) is not None
    assert score(scorer, scorer.encode(PAIRS)) == pytest.approx(saved_embeddings(folder, texts), abs=1e-5)


def test_documents_keep_their_order_in_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerank.scorers.networks.runs_packed", lambda _: True)
    folder = make_modernbert(tmp_path / "reranker")
    exact, half = (load(folder, "torch", precision) for precision in ("fp32", "bf16"))
    letters = random.Random(0)
    documents = [" ".join(letters.choices("abcdefghilmnoprst", k=3 + number % 40)) for number in range(200)]
    encoded = exact.encode([Pair("word", document) for document in documents])

    expected, found = score(exact, encoded), score(half, encoded)

    assert len(set(expected)) == len(set(found)) == 200
    assert found == pytest.approx(expected, abs=0.15)


def yarn(folder: Path) -> None:
    angles = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0, "original_max_position_embeddings": 64}
    make_modernbert(folder, rope_parameters=dict.fromkeys(("full_attention", "sliding_attention"), angles))


def chain_with(settings: dict[str, Any]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        make_chain(folder, "cls", layers=2)
        rewrite(folder / "2_Dense" / "config.json", **settings)

    return make


@pytest.mark.parametrize(
    "make",
    [
        yarn,
        chain_with({"use_residual": True, "out_features": 32}),
        chain_with({"activation_function": "torch.nn.modules.activation.Hardswish"}),
        chain_with({"module_output_name": "dense"}),
        partial(make_chain, pooling="max", layers=2),
        partial(make_chain, pooling="lasttoken", layers=2),
    ],
    ids=["yarn", "residual", "activation", "output", "maximum", "last token"],
)
def test_what_is_not_computed_here_is_left_to_sentence_transformers(
    tmp_path: Path, make: Callable[[Path], Any]
) -> None:
    make(tmp_path / "reranker")

    assert pair_model(read_checkpoint(tmp_path / "reranker")) is None


def test_a_module_whose_weights_are_others_is_refused(tmp_path: Path) -> None:
    folder = make_chain(tmp_path / "reranker", "cls", layers=2)
    rewrite(folder / "2_Dense" / "config.json", bias=False)

    with pytest.raises(Exception, match="cannot be loaded"):
        load(folder, "torch")
