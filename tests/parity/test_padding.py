"""Cross-encoders and embedding models that padding could change: a pair scores as it does alone."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import CrossEncoder

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import Device
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.layouts import (
    BY_VERSION_5,
    ZERANK,
    Make,
    causal,
    chain,
    embeddings,
    encoder,
    put_template,
    rewrite,
    saved_embeddings,
    then,
    with_logit_score,
)

DOCUMENTS = ("a branch of AI", "", "one more word " * 25, "the giant panda is a bear", "one more word " * 25)
PAIRS = [("what is machine learning?", document) for document in DOCUMENTS]


def logits(folder: Path, runtime: str, **card: Any) -> list[list[float]]:
    """Scores of all pairs in one batch, and of the last ones."""
    placement = Placement(Device("cpu", "fp32", "of a test", openvino=runtime == "openvino"), folder.parent / ".ov")
    scorer: Scorer = load_scorer(read_checkpoint(folder), ModelCard(id="tiny", **card), placement)
    encoded = scorer.encode([Pair(*pair) for pair in PAIRS])
    return [score(scorer, encoded), score(scorer, encoded[2:])]


def each_alone(folder: Path) -> list[float]:
    """sentence-transformers' scores, one pair at a time."""
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    if model.tokenizer.pad_token is None:
        # the library refuses to lay out even one pair, to which it adds nothing
        model.tokenizer.pad_token = "<|im_end|>"
    return [float(model.predict([pair], activation_fn=torch.nn.Identity())[0]) for pair in PAIRS]


def padding_by(side: str | None = None, **tokens: Any) -> Make:
    """A folder whose tokenizer pads on this side, with these tokens in its config.json."""

    def change(folder: Path) -> None:
        rewrite(folder / "tokenizer_config.json", padding_side=side)
        rewrite(folder / "config.json", **tokens)

    return change


def without_a_token_for_padding(folder: Path) -> None:
    padding_by("right", pad_token_id=None)(folder)
    rewrite(folder / "tokenizer_config.json", pad_token=None)
    rewrite(folder / "special_tokens_map.json", pad_token=None)


def ending_in_its_padding(folder: Path) -> None:
    """Every pair ends in the token that the tokenizer pads with; config.json names none."""
    padding_by("right", pad_token_id=None)(folder)
    put_template(folder, ZERANK.replace("assistant\n\n", "assistant\n<|endoftext|>"))


llama = partial(causal, model_type="llama", template=None, classifier=True, **BY_VERSION_5)
gpt_neo: dict[str, Any] = {"model_type": "gpt_neo", "attention_types": [[["global", "local"], 1]], "window_size": 16}
CAUSAL = [
    pytest.param(then(llama, padding_by("right", pad_token_id=3)), id="another-token-of-the-head"),
    pytest.param(then(llama, padding_by("left", pad_token_id=None)), id="no-token-of-the-head"),
    pytest.param(then(llama, padding_by("left", pad_token_id=-1)), id="a-negative-token"),
    pytest.param(then(llama, without_a_token_for_padding), id="no-token-at-all"),
    pytest.param(then(llama, ending_in_its_padding), id="pairs-that-end-in-padding"),
    pytest.param(
        partial(causal, model_type="gpt2", template=None, classifier=True, **BY_VERSION_5, n_positions=1024),
        id="gpt2-on-the-left",
    ),
    pytest.param(partial(causal, template=None, classifier=True, **BY_VERSION_5, **gpt_neo), id="gpt-neo-on-the-left"),
    pytest.param(
        then(
            partial(causal, model_type="llama", template=ZERANK, classifier=True, **BY_VERSION_5),
            padding_by("right", pad_token_id=3),
        ),
        id="a-template-and-another-token",
    ),
    pytest.param(
        then(partial(causal, model_type="gpt2", template=None, n_positions=1024), partial(chain, pooling="lasttoken")),
        id="gpt2-chain-with-lasttoken",
    ),
    pytest.param(
        then(partial(causal, model_type="llama", template=None), partial(chain, pooling="lasttoken")),
        id="llama-chain-with-lasttoken",
    ),
    pytest.param(
        then(
            partial(causal, model_type="gpt2", template=ZERANK, n_positions=1024),
            lambda folder: with_logit_score(folder, 7),
        ),
        id="gpt2-with-words",
    ),
]
OWN_NAMES: dict[str, Any] = dict.fromkeys(
    ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "max_position_embeddings")
)
"""Sizes that Funnel and XLNet call by names of their own."""
XLNET = OWN_NAMES | {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64}
FUNNEL = OWN_NAMES | {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1, 1]}
MIXING: list[tuple[str, dict[str, Any]]] = [
    ("convbert", {"embedding_size": 32}),
    ("fnet", {}),
    ("nystromformer", {}),
    ("canine", {}),
    ("yoso", {"type_vocab_size": 2}),
    ("funnel", FUNNEL),
]


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize("make", CAUSAL)
def test_a_language_model_scores_each_pair_as_alone(tmp_path: Path, make: Make, runtime: str) -> None:
    make(tmp_path / "tiny")
    expected = each_alone(tmp_path / "tiny")

    whole, last = logits(tmp_path / "tiny", runtime)

    assert whole == pytest.approx(expected, abs=1e-4)
    assert last == pytest.approx(expected[2:], abs=1e-4)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize(("kind", "sizes"), MIXING, ids=[kind for kind, _ in MIXING])
def test_a_body_that_mixes_padding_in_scores_each_pair_as_alone(
    tmp_path: Path, kind: str, sizes: dict[str, Any], runtime: str
) -> None:
    folder = encoder(tmp_path / "tiny", kind, **sizes)
    expected = each_alone(folder)

    whole, last = logits(folder, runtime)

    assert whole == pytest.approx(expected, abs=1e-4)
    assert last == pytest.approx(expected[2:], abs=1e-4)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_vectors_of_a_body_that_mixes_padding_in_are_those_of_each_text_alone(tmp_path: Path, runtime: str) -> None:
    folder = encoder(tmp_path / "tiny", "convbert", body=True, embedding_size=32)
    embeddings(folder)
    expected = [saved_embeddings(folder, [pair])[0] for pair in PAIRS]

    assert logits(folder, runtime)[0] == pytest.approx(expected, abs=1e-4)


def test_a_chain_of_a_body_that_mixes_padding_in_scores_each_pair_as_alone(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "tiny", "convbert", body=True, embedding_size=32)
    chain(folder, "mean")

    assert logits(folder, "torch")[0] == pytest.approx(each_alone(folder), abs=1e-4)


def test_a_head_that_reads_the_end_of_a_row_is_padded_in_front(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "tiny", "xlnet", **XLNET)

    assert logits(folder, "torch")[0] == pytest.approx(each_alone(folder), abs=1e-4)


def test_a_bigbird_that_computes_every_text_whole_scores_each_pair_as_alone(tmp_path: Path) -> None:
    folder = encoder(tmp_path / "tiny", "big_bird", block_size=8)
    expected = each_alone(folder)

    assert logits(folder, "torch", max_length=88)[0] == pytest.approx(expected, abs=1e-4)
