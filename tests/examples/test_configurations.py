"""Each example configuration starts a server; only the GPU of one is left out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.errors import SettingsError
from rerank.gateway.routing.plan import Plan, plan_of
from rerank.server import build
from rerank.settings import Settings, read_settings, setting_names
from tests.process.server import ROOT

CONFIGURATIONS = ROOT / "examples" / "configurations"
NAMES = sorted(folder.name for folder in CONFIGURATIONS.iterdir())
KEY = "COHERE_API_KEY"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in an environment without settings."""
    for name in (name for names in setting_names().values() for name in names):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv(KEY, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "configure_logging", lambda *_: None)
    return tmp_path


def settings_of(name: str, folder: Path) -> Settings:
    """As read from its `.env`, for a machine without a GPU."""
    for file in (".env", "models.toml"):
        shutil.copy(CONFIGURATIONS / name / file, folder)
    settings = read_settings()
    return settings.model_copy(update={"device": "cpu"})


def cards_in(plan: Plan) -> Iterator[ModelCard]:
    """The cards of the models that score."""
    if not plan.members:
        yield plan.card
    for member in plan.members:
        yield from cards_in(member)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_starts_with_each_configuration(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, "key-of-the-test")
    settings = settings_of(name, folder)
    build.app_from_settings(settings)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    default = catalog.choose_default(settings.default_model).card
    assert default.id == "rerank"
    assert len(list(cards_in(plan_of(default, catalog.resolve)))) > 1
    preloaded = {catalog.resolve(model).id for model in settings.preloaded_models or ()}
    assert preloaded == {card.id for card in catalog.cards() if card.pinned}


def test_the_gateway_has_no_weights(folder: Path) -> None:
    catalog = Catalog.open(folder, settings_of("gateway", folder).models_file)
    assert not any(card.has_weights for card in cards_in(plan_of(catalog.resolve("rerank"), catalog.resolve)))


def test_the_gateway_asks_for_the_key_of_its_service(folder: Path) -> None:
    with pytest.raises(SettingsError, match=f"cohere: upstream: the environment variable {KEY}"):
        build.app_from_settings(settings_of("gateway", folder))


def test_one_gpu_is_that_of_the_settings(folder: Path) -> None:
    shutil.copy(CONFIGURATIONS / "one-gpu" / ".env", folder)
    assert read_settings().device == "cuda:0"
