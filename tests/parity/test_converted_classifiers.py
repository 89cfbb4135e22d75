"""Cross-encoders without a body of ours: on a CPU their bodies run in OpenVINO, if that computes what torch does."""

from __future__ import annotations

import logging
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
from rerank.runtimes import openvino_cpu
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.conversions import convert_others
from tests.parity.layouts import (
    BART,
    BY_VERSION_5,
    ZERANK,
    Make,
    by_hand,
    causal,
    chain,
    encoder,
    labels_by_hand,
    then,
    with_logit_score,
)

PAIRS = [
    Pair("what is machine learning?", text)
    for text in ("a branch of AI", "", "one more word " * 300, "the giant panda is a bear")
]
LENGTH = 120
phi = partial(causal, model_type="phi", template=None, classifier=True, **BY_VERSION_5)


def load(folder: Path, runtime: str = "openvino", labels: tuple[int, int] | None = None) -> Scorer:
    device = Device("cpu", "fp32", "of a test", openvino=runtime == "openvino")
    placement = Placement(device, folder.parent / ".openvino", LENGTH)
    return load_scorer(read_checkpoint(folder), ModelCard(id="tiny", labels=labels), placement)


def logits(scorer: Scorer, pairs: list[Pair]) -> list[float]:
    return score(scorer, scorer.encode(pairs))


def check_both_runtimes(folder: Path, pairs: list[Pair], expected: list[float]) -> None:
    """The pairs together, and the last one alone."""
    for runtime in ("openvino", "torch"):
        scorer = load(folder, runtime)
        assert scorer.runtime.startswith(runtime)
        assert logits(scorer, pairs) == pytest.approx(expected, abs=1e-4)
        assert logits(scorer, pairs[-1:]) == pytest.approx(expected[-1:], abs=1e-4)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    phi(folder=tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(partial(encoder, model_type="albert", embedding_size=32), id="albert"),
        pytest.param(partial(encoder, model_type="mpnet", max_position_embeddings=130), id="mpnet"),
        pytest.param(phi, id="phi"),
        pytest.param(
            partial(causal, model_type="gemma2", template=None, classifier=True, **BY_VERSION_5, sliding_window=16),
            id="gemma2",
        ),
    ],
)
def test_scores_are_those_of_predict(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "tiny")
    model = CrossEncoder(str(tmp_path / "tiny"), device="cpu", max_length=LENGTH)
    texts = [(pair.query, pair.document) for pair in PAIRS]
    expected = model.predict(texts, activation_fn=torch.nn.Identity()).tolist()

    check_both_runtimes(tmp_path / "tiny", PAIRS, expected)


asked = partial(causal, model_type="qwen3", template=ZERANK)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(then(asked, lambda folder: with_logit_score(folder, 7)), id="words-of-its-own"),
        pytest.param(then(asked, partial(chain, pooling="lasttoken")), id="modules-behind-the-body"),
        pytest.param(
            then(partial(causal, model_type="qwen3", template=None), partial(chain, pooling="lasttoken")),
            id="modules-without-a-template",
        ),
        pytest.param(then(partial(encoder, model_type="albert", body=True), partial(chain, pooling="max")), id="max"),
        pytest.param(
            partial(
                causal, model_type="phi", template=ZERANK.replace("system", "user"), classifier=True, **BY_VERSION_5
            ),
            id="classifier-with-a-template",
        ),
    ],
)
def test_templates_and_modules_stay_around_the_converted_body(tmp_path: Path, make: Make) -> None:
    make(tmp_path / "tiny")
    pairs = [pair for pair in PAIRS if len(pair.document) < LENGTH]
    model = CrossEncoder(str(tmp_path / "tiny"), device="cpu")
    texts = [(pair.query, pair.document) for pair in pairs]
    expected = model.predict(texts, activation_fn=torch.nn.Identity()).tolist()

    check_both_runtimes(tmp_path / "tiny", pairs, expected)


T5: dict[str, Any] = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}


@pytest.mark.parametrize("labels", [1, 3])
@pytest.mark.parametrize(
    ("kind", "sizes", "runs"), [("bart", BART, "openvino"), ("t5", T5, "torch")], ids=["bart", "t5"]
)
def test_classifiers_with_a_decoder_score_as_by_hand(
    tmp_path: Path, kind: str, sizes: dict[str, Any], runs: str, labels: int
) -> None:
    folder = encoder(tmp_path / "tiny", kind, eos_token_id=3, num_labels=labels, **sizes)
    pairs = [pair for pair in PAIRS if len(pair.document) < LENGTH]
    reference = by_hand if labels == 1 else labels_by_hand(0, 2)
    expected = reference(folder, [(pair.query, pair.document) for pair in pairs])

    for runtime in ("openvino", "torch"):
        scorer = load(folder, runtime, labels=(0, 2) if labels == 3 else None)
        assert scorer.runtime.startswith(runs if runtime == "openvino" else "torch")
        assert logits(scorer, pairs) == pytest.approx(expected, abs=1e-4)


def test_a_conversion_is_kept(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = logits(load(tiny), PAIRS)
    monkeypatch.setattr(openvino_cpu.openvino, "convert_model", None)

    again = load(tiny)

    assert again.runtime.startswith("openvino")
    assert logits(again, PAIRS) == first


def test_a_conversion_that_computes_something_else_is_not_taken(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = logits(load(tiny, "torch"), PAIRS)
    convert_others(monkeypatch)

    # nor is it kept for the next start
    for _ in range(2):
        scorer = load(tiny)
        assert scorer.runtime.startswith("torch fp32, padded, sdpa attention")
        assert logits(scorer, PAIRS) == pytest.approx(expected, abs=1e-5)
    assert caplog.text.count("the conversion computes something else") == 2


def test_a_conversion_that_fails_leaves_the_log_as_it_was(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(*_: object, **_options: object) -> None:
        logging.getLogger().setLevel(logging.ERROR)
        logging.getLogger("rerank.api").info("another request meanwhile")
        raise RuntimeError("of a test")

    caplog.set_level(logging.INFO)
    own = logging.getLogger("rerank").level
    monkeypatch.setattr(openvino_cpu.openvino, "convert_model", failing)
    load(tiny)
    assert "another request meanwhile" in caplog.text
    assert "OpenVINO cannot convert it (of a test)" in caplog.text
    assert logging.getLogger("rerank").level == own


@pytest.mark.parametrize(
    ("make", "why"),
    [
        pytest.param(
            partial(phi, rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}),
            "its rotary positions are dynamic",
            id="positions-that-change-with-the-length",
        ),
        pytest.param(
            partial(encoder, model_type="longformer", attention_window=16, max_position_embeddings=160),
            "its head asks its body in a way of its own",
            id="a-mask-of-its-own",
        ),
    ],
)
def test_what_a_conversion_would_leave_out_stays_in_torch(
    tmp_path: Path, make: Make, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "tiny")

    assert load(tmp_path / "tiny").runtime.startswith("torch")
    assert f"tiny runs in plain torch, which is slower: {why}" in caplog.text
