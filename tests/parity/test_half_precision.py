"""Half precision: bodies in it, and what makes a score of their vectors in fp32."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import Device
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.layouts import BY_VERSION_5, ETTIN, Make, causal, embeddings, then, two_hundred_texts

CLASSIFIER = partial(causal, model_type="phi", template=None, classifier=True, **BY_VERSION_5)


def load(folder: Path, precision: str, *, openvino: bool = False) -> Scorer:
    card = ModelCard(id="tiny")
    placement = Placement(Device("cpu", precision, "of a test", openvino=openvino), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


@pytest.mark.parametrize(
    ("make", "openvino"),
    [
        pytest.param(ETTIN, False, id="modules-behind-the-transformer"),
        pytest.param(CLASSIFIER, False, id="classifier"),
        pytest.param(CLASSIFIER, True, id="classifier-with-its-body-in-openvino"),
    ],
)
def test_two_hundred_documents_have_as_many_scores(tmp_path: Path, make: Make, openvino: bool) -> None:
    make(tmp_path / "tiny")
    scorer = load(tmp_path / "tiny", "bf16", openvino=openvino)

    found = score(scorer, scorer.encode([Pair("what is machine learning?", text) for text in two_hundred_texts()]))

    assert len(set(found)) == 200


def test_an_empty_text_has_a_vector_in_fp16(tmp_path: Path) -> None:
    then(partial(causal, model_type="qwen3", template=None), partial(embeddings, pooling="lasttoken"))(
        tmp_path / "tiny"
    )
    scorer = load(tmp_path / "tiny", "fp16")

    (found,) = score(scorer, scorer.encode([Pair("what is machine learning?", "")]))

    assert math.isfinite(found)
