"""A card that normalises: a model of every family scores texts as it scores their normalised forms without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rerank.catalog.cards import ModelCard
from rerank.core import Pair
from rerank.normalising import normalised
from rerank.scorers.base import score
from tests.parity.layouts import Make, load
from tests.parity.test_published_layouts import RIGHT

FAMILIES = (
    "ms-marco-v4-identity",
    "nli-three-labels-in-the-fallback",
    "monot5-by-its-card",
    "qwen3-reranker",
    "zerank-2",
    "e5-bge-m3-embeddings",
    "t5-embeddings-with-dense",
    "colbertv2.0-answerai-colbert-small-v1",
)
RAW = Pair("ｐａｎｄａ？", "“Ｔｈｅ　panda” is\u2028‘a bear’ ﬁ")
CLEAN = Pair(*map(normalised, RAW))


@pytest.mark.parametrize(
    ("make", "reference", "activation", "card"), [layout for layout in RIGHT if layout.id in FAMILIES]
)
def test_scores_are_those_of_the_normalised_texts(
    tmp_path: Path, make: Make, reference: object, activation: object, card: dict[str, Any]
) -> None:
    del reference, activation
    folder = tmp_path / "tiny"
    make(folder)
    described = ModelCard(**card)
    plain, normalising = load(folder, described), load(folder, replace(described, normalize="nfkc"))
    wanted = score(plain, plain.encode([CLEAN]))
    assert score(normalising, normalising.encode([RAW])) == wanted
    assert score(normalising, normalising.encode([CLEAN])) == wanted
    assert score(plain, plain.encode([RAW])) != wanted


def test_every_layout_is_known() -> None:
    assert {layout.id for layout in RIGHT if layout.id in FAMILIES} == set(FAMILIES)
