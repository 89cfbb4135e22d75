"""The model that a caller gets: what keys allow, and what errors tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, DefaultModel
from rerank.core import Caller
from rerank.errors import Forbidden, ModelNotFound
from rerank.gateway.choosing import default_model, find_model

WORDS, MEANINGS = ModelCard("acme/words", aliases=("short",)), ModelCard("acme/meanings")
ANYBODY = Caller("")
LIMITED = Caller("chat", models=("acme/meanings", "acme/gone"))
DEFAULT = DefaultModel(WORDS, "it is configured")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    return Catalog(tmp_path, (WORDS, MEANINGS))


@pytest.mark.parametrize("name", ["acme/words", "short", "words"])
def test_a_caller_without_limits_gets_the_model_of_any_of_its_names(catalog: Catalog, name: str) -> None:
    assert find_model(catalog, name, ANYBODY) == WORDS


def test_an_allowed_model_is_found(catalog: Catalog) -> None:
    assert find_model(catalog, "meanings", LIMITED) == MEANINGS


def test_an_unknown_name_is_explained_with_the_known_ones(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFound, match=r"`acme/word`.*acme/words"):
        find_model(catalog, "acme/word", ANYBODY)


def test_a_limited_key_is_told_of_no_model_but_its_own(catalog: Catalog) -> None:
    with pytest.raises(ModelNotFound) as caught:
        find_model(catalog, "acme/word\n" + "x" * 1000, LIMITED)
    said = str(caught.value)
    assert said.startswith("The model `acme/word\N{REPLACEMENT CHARACTER}xx")
    assert said.endswith("x` does not exist. The key chat may use: acme/meanings, acme/gone.")
    assert len(said) < 400


def test_a_model_that_the_key_does_not_allow_is_forbidden(catalog: Catalog) -> None:
    with pytest.raises(Forbidden) as caught:
        find_model(catalog, "short", LIMITED)
    assert str(caught.value) == (
        "The key chat may not use the model `short`. The key chat may use: acme/meanings, acme/gone."
    )
    assert caught.value.param == "model"


def test_a_key_that_allows_no_model_is_told_so(catalog: Catalog) -> None:
    with pytest.raises(Forbidden, match=r"The key none may use: \.$"):
        find_model(catalog, "short", Caller("none", models=()))


@pytest.mark.parametrize("caller", [ANYBODY, Caller("words", models=("acme/meanings", "acme/words"))])
def test_the_default_model_is_the_servers_where_the_key_allows_it(catalog: Catalog, caller: Caller) -> None:
    assert default_model(catalog, DEFAULT, caller) is DEFAULT


def test_the_default_model_is_else_the_first_that_the_key_allows(catalog: Catalog) -> None:
    assert default_model(catalog, DEFAULT, LIMITED) == DefaultModel(MEANINGS, "the first model of the key chat")
