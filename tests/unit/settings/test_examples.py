"""The example files say what the code does."""

from __future__ import annotations

import io
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from dotenv import dotenv_values

from rerank.activations import SIGMOID
from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import merge_cards
from rerank.catalog.models_file import CardInFile, read_models_file
from rerank.catalog.routes_file import RoutesInFile
from rerank.gateway.routing.plan import check_routes
from rerank.settings import Settings, read_settings, setting_names

from .conftest import WriteDotEnv

ROOT = Path(__file__).parents[3]


def uncommented() -> str:
    """`.env.example` with every setting switched on."""
    return re.sub(r"^# ([A-Z_]+=)", r"\1", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.MULTILINE)


def test_the_environment_example_explains_every_setting_once() -> None:
    shown = list(dotenv_values(stream=io.StringIO(uncommented())))

    current = [field for field, info in Settings.model_fields.items() if not info.deprecated]
    for field in current:
        assert len([name for name in shown if name in setting_names()[field]]) == 1, field
    assert len(shown) == len(current)


def test_the_environment_example_can_be_used_as_it_stands(
    dot_env: WriteDotEnv, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dot_env(uncommented())

    assert read_settings().port == 8000


def test_the_environment_example_shows_the_defaults() -> None:
    for name, value in dotenv_values(stream=io.StringIO(uncommented())).items():
        field = next(field for field, names in setting_names().items() if name in names)
        default = Settings.model_fields[field].default
        if default is not None:
            assert str(default).lower() == str(value).lower(), name


def test_the_models_example_can_be_used_as_it_stands() -> None:
    cards = merge_cards(BUILT_IN, read_models_file(ROOT / "models.example.toml"))

    by_id = {card.id: card for card in cards}
    assert by_id["cross-encoder/ms-marco-MiniLM-L-6-v2"].aliases == ("minilm", "ms-marco")
    assert by_id["my-company/reranker"].repo is None
    check_routes(cards, {name: card for card in cards for name in (card.id, *card.aliases)}.__getitem__)


def test_the_models_example_explains_every_key_of_a_card(tmp_path: Path) -> None:
    example = (ROOT / "models.example.toml").read_text(encoding="utf-8")
    everything = tmp_path / "models.toml"
    everything.write_text(re.sub(r"^# (\w+ = )", r"\1", example, flags=re.MULTILINE), encoding="utf-8")

    shown = {key for table in tomllib.loads(everything.read_text(encoding="utf-8"))["model"] for key in table}
    *_, last = read_models_file(everything)

    assert shown == set(CardInFile.model_fields)
    assert (last.keep_alive, last.pinned, last.precision) == (600, True, "fp32")
    assert last.activation == replace(SIGMOID, scale=5)
    other_kinds = {*RoutesInFile.model_fields, "upstream", "prompts"}
    for name in shown - other_kinds - {"id", "aliases", "repo", "revision", "path", "max_length", "scale"}:
        assert getattr(last, name) != CardInFile.model_fields[name].default, name
