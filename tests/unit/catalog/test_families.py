from __future__ import annotations

import pytest

from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, FAMILIES, family_by_head, family_by_modules


def test_every_family_is_shown_by_something_in_its_folder() -> None:
    assert all(family.heads or family.modules for family in FAMILIES.values())


def test_an_architecture_without_a_head_shows_no_family() -> None:
    assert family_by_head("BertModel") is None


@pytest.mark.parametrize("ending", ["ForSequenceClassification", "ForCausalLM"])
def test_a_head_shows_a_cross_encoder(ending: str) -> None:
    assert family_by_head(f"Any{ending}") == CROSS_ENCODER


def test_pooling_shows_a_bi_encoder_whatever_follows_it() -> None:
    assert family_by_modules({"Transformer", "Pooling", "Dense"}) == BI_ENCODER


def test_a_body_alone_shows_no_family() -> None:
    assert family_by_modules({"Transformer"}) is None
