"""Weights and settings that do not fit each other, in every family: the message names which."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.prompts import PROMPTS
from rerank.errors import WeightsBroken
from tests.parity.late import make_pylate
from tests.parity.layouts import Make, embeddings, encoder, load, rewrite, then
from tests.parity.t5 import make_t5
from tests.support.tiny_checkpoints import make_bert, make_qwen3, make_xlm_roberta

ONE_LABEL: dict[str, Any] = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
albert = partial(encoder, model_type="albert", embedding_size=32)
t5_body = partial(encoder, model_type="t5", body=True, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)


def saying(make: Make, **config: Any) -> Make:
    """The folder, whose config.json says this in addition."""
    return then(make, lambda folder: rewrite(folder / "config.json", **config))


def with_wider_vectors(folder: Path) -> None:
    rewrite(folder / "2_Dense" / "config.json", out_features=24)


@pytest.mark.parametrize(
    ("make", "name", "shapes"),
    [
        pytest.param(
            saying(make_bert, intermediate_size=48),
            "bert.encoder.layer.0.intermediate.dense.bias",
            ("64", "48"),
            id="bert",
        ),
        pytest.param(
            saying(partial(make_xlm_roberta, labels=3), **ONE_LABEL), "classifier.out_proj.bias", ("3", "1"), id="head"
        ),
        pytest.param(
            saying(partial(albert, num_labels=3), **ONE_LABEL), "classifier.bias", ("3", "1"), id="head-in-the-fallback"
        ),
        pytest.param(
            saying(albert, intermediate_size=48),
            "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.bias",
            ("64", "48"),
            id="fallback",
        ),
        pytest.param(
            saying(make_qwen3, intermediate_size=48),
            "layers.0.mlp.down_proj.weight",
            ("32 x 64", "32 x 48"),
            id="causal",
        ),
        pytest.param(
            saying(then(partial(encoder, model_type="bert", body=True), embeddings), intermediate_size=48),
            "encoder.layer.0.intermediate.dense.bias",
            ("64", "48"),
            id="embeddings",
        ),
        pytest.param(
            saying(then(t5_body, partial(embeddings, dense=1)), d_ff=48),
            "encoder.block.0.layer.1.DenseReluDense.wi.weight",
            ("64 x 32", "48 x 32"),
            id="embeddings-in-the-fallback",
        ),
        pytest.param(
            saying(make_pylate, intermediate_size=48), "layers.0.mlp.Wi.weight", ("128 x 32", "96 x 32"), id="colbert"
        ),
    ],
)
def test_a_weight_of_another_shape_is_named(tmp_path: Path, make: Make, name: str, shapes: tuple[str, str]) -> None:
    make(tmp_path / "tiny")

    with pytest.raises(WeightsBroken) as refusal:
        load(tmp_path / "tiny", ModelCard(id="tiny"))

    stored, asked = shapes
    assert refusal.value.message == (
        f"tiny holds {name} in the shape {stored}, where its config.json asks for {asked}: they are not of one model"
    )


def test_a_weight_of_another_shape_is_named_in_a_t5(tmp_path: Path) -> None:
    saying(make_t5, d_ff=48)(tmp_path / "tiny")

    with pytest.raises(WeightsBroken, match=r"decoder\.block\.0\.layer\.2\.DenseReluDense\.wi\.weight in the shape"):
        load(tmp_path / "tiny", ModelCard(id="tiny", prompt=PROMPTS["monot5"]))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(
            saying(make_bert, hidden_act="brand_new"), "nothing is known under the name 'brand_new'", id="activation"
        ),
        pytest.param(
            saying(make_bert, hidden_size="32"),
            "Validation error for field 'hidden_size': TypeError: Field 'hidden_size' expected int, got str "
            "(value: '32')",
            id="a-text-for-a-number",
        ),
        pytest.param(
            then(partial(encoder, model_type="bert", body=True), partial(embeddings, dense=1), with_wider_vectors),
            "Error(s) in loading state_dict for Dense: size mismatch for linear.weight: copying a param with shape "
            "torch.Size([16, 32]) from checkpoint, the shape in current model is torch.Size([24, 32])",
            id="projection",
        ),
    ],
)
def test_a_setting_that_no_library_takes_is_named(tmp_path: Path, make: Make, told: str) -> None:
    make(tmp_path / "tiny")

    with pytest.raises(WeightsBroken) as refusal:
        load(tmp_path / "tiny", ModelCard(id="tiny"))

    assert refusal.value.message == f"tiny cannot be loaded: {told}"
