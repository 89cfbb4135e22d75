"""How models may lie in the models folder."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from huggingface_hub import constants

from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.folders import ModelsFolder
from rerank.errors import ModelNotFound, SettingsError
from tests.support.clock import Clock

from .folders import write_cache_snapshot, write_checkpoint, write_json

BASE = "BAAI/bge-reranker-base"
QWEN = "Qwen/Qwen3-Reranker-0.6B"


@pytest.fixture(autouse=True)
def _no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def others(catalog: Catalog) -> list[str]:
    """Ids of the models that no card describes."""
    return [card.id for card in catalog.cards()[len(BUILT_IN) :]]


def test_a_models_folder_that_cannot_be_is_named_and_one_that_is_missing_is_empty(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"^RERANK_MODELS_DIR: .*/file/models cannot be read: Not a directory$"):
        Catalog.open(tmp_path / "file" / "models", tmp_path / "models.toml")
    (tmp_path / "dangling").symlink_to("elsewhere")
    with pytest.raises(SettingsError, match=r"^RERANK_MODELS_DIR: .*/dangling cannot be read: No such file"):
        Catalog.open(tmp_path / "dangling", tmp_path / "models.toml")
    assert others(Catalog.open(tmp_path / "none" / "models", tmp_path / "models.toml")) == []


class TestLayouts:
    @pytest.mark.parametrize(
        ("place", "known"),
        [
            ("bge-reranker-base", BASE),
            ("BGE-Reranker-Base", BASE),
            ("BAAI/bge-reranker-base", BASE),
            ("baai/BGE-Reranker-Base", BASE),
            ("BAAI--bge-reranker-base", BASE),
            ("Qwen3-Reranker-0___6B", QWEN),
            ("Qwen/Qwen3-Reranker-0___6B", QWEN),
        ],
    )
    def test_a_known_model_is_found_and_is_no_further_one(self, models: Path, place: str, known: str) -> None:
        folder = write_checkpoint(models / place)
        catalog = Catalog(models)
        assert catalog.folder(catalog.resolve(known)) == folder
        assert catalog.resolve(place).id == known
        assert others(catalog) == []

    def test_a_known_model_in_the_layout_of_the_hubs_cache(self, models: Path) -> None:
        snapshot = write_cache_snapshot(models, BASE)
        catalog = Catalog(models)
        assert catalog.folder(catalog.resolve("bge-reranker-base")) == snapshot
        assert others(catalog) == []

    def test_unknown_models_have_their_places_as_ids(self, models: Path) -> None:
        write_checkpoint(models / "mine")
        write_checkpoint(models / "maker" / "one")
        snapshot = write_cache_snapshot(models, "org/two")
        catalog = Catalog(models)
        assert others(catalog) == ["maker/one", "mine", "org/two"]
        assert catalog.resolve("one").id == catalog.resolve("models/maker/one").id == "maker/one"
        assert catalog.resolve("models--org--two").id == "org/two"
        assert catalog.folder(catalog.resolve("two")) == snapshot
        assert all(catalog.is_local(card) for card in catalog.cards()[len(BUILT_IN) :])

    @pytest.mark.parametrize("commit", ["../../../etc", "", "x" * 500, "no/such", "a\nb"])
    def test_a_cache_whose_reference_leads_away_holds_nothing(self, models: Path, commit: str) -> None:
        write_cache_snapshot(models, "org/two")
        (models / "models--org--two" / "refs" / "main").write_text(commit)
        assert others(Catalog(models)) == []

    def test_a_models_own_folders_are_no_models(self, models: Path) -> None:
        folder = write_checkpoint(models / "mine")
        write_json(folder / "1_Pooling" / "config.json", {})
        write_checkpoint(models / "half" / "onnx")
        (models / "half" / "model.safetensors").touch()
        catalog = Catalog(models)
        assert others(catalog) == ["mine"]
        with pytest.raises(ModelNotFound, match=r"models/half is there, but models/half/config\.json is missing"):
            catalog.resolve("half")


class TestSpelling:
    def test_folders_that_differ_in_case_answer_for_themselves(self, models: Path) -> None:
        for name in ("Reranker", "reranker"):
            write_checkpoint(models / name)
        catalog = Catalog(models)
        for name in ("Reranker", "reranker", "models/Reranker", "models/reranker"):
            assert catalog.folder(catalog.resolve(name)) == models / name.removeprefix("models/")
        with pytest.raises(ModelNotFound, match="ambiguous"):
            catalog.resolve("RERANKER")

    def test_a_described_folder_answers_to_its_own_name_too(
        self, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("Reranker", "reranker"):
            write_checkpoint(models / name)
        monkeypatch.chdir(models.parent)
        mine = ModelCard(id="acme/mine", path=models / "Reranker")
        catalog = Catalog(Path("models"), (mine,))
        assert catalog.resolve("Reranker") is catalog.resolve("models/Reranker") is mine
        assert catalog.resolve("reranker").id == "reranker"

    def test_a_folder_spelt_as_its_card_is_the_cards(self, models: Path) -> None:
        for name in ("bge-reranker-base", "BGE-Reranker-Base"):
            write_checkpoint(models / name)
        catalog = Catalog(models)
        assert catalog.folder(catalog.resolve("bge-reranker-base")) == models / "bge-reranker-base"
        assert catalog.folder(catalog.resolve("BGE-Reranker-Base")) == models / "BGE-Reranker-Base"

    def test_modelscopes_folders_are_told_apart(self, models: Path) -> None:
        for name in ("Qwen3-Reranker-0___6B", "Qwen3-Reranker-0___6B-seq-cls"):
            write_checkpoint(models / name)
        catalog = Catalog(models)
        for name in ("Qwen3-Reranker-0___6B", "Qwen3-Reranker-0.6B", QWEN):
            assert catalog.folder(catalog.resolve(name)) == models / "Qwen3-Reranker-0___6B"
        for name in ("Qwen3-Reranker-0___6B-seq-cls", "Qwen3-Reranker-0.6B-seq-cls"):
            assert catalog.folder(catalog.resolve(name)) == models / "Qwen3-Reranker-0___6B-seq-cls"

    @pytest.mark.parametrize(("lies", "asked"), [("NFD", "NFC"), ("NFC", "NFD")])
    def test_letters_may_be_composed_or_not(self, models: Path, lies: str, asked: str) -> None:
        folder = write_checkpoint(models / unicodedata.normalize(lies, "modèle"))  # type: ignore[arg-type]
        catalog = Catalog(models)
        assert catalog.folder(catalog.resolve(unicodedata.normalize(asked, "modèle"))) == folder  # type: ignore[arg-type]


class TestLooking:
    def test_a_model_put_into_a_small_folder_is_found_at_once(self, models: Path) -> None:
        catalog = Catalog(models)
        assert others(catalog) == []
        (models / "mine").mkdir()
        assert others(catalog) == []
        write_checkpoint(models / "mine")
        assert others(catalog) == ["mine"]

    def test_a_full_folder_is_looked_through_after_a_pause_or_a_change(self, models: Path) -> None:
        for number in range(300):
            (models / f"folder-{number}").mkdir()
        clock = Clock()
        folder = ModelsFolder(models, clock)
        before = folder.listing()
        write_checkpoint(models / "folder-7")
        assert folder.listing() is before
        clock.now += 10
        assert [found.name for found in folder.listing().models] == ["folder-7"]
        write_checkpoint(models / "another")
        assert [found.name for found in folder.listing().models] == ["another", "folder-7"]

    def test_the_listing_is_the_same_object_as_long_as_nothing_changed(self, models: Path) -> None:
        write_checkpoint(models / "mine")
        folder = ModelsFolder(models)
        assert folder.listing() is folder.listing()
