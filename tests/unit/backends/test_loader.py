from __future__ import annotations

import hashlib
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import constants

from rerank.activations import SIGMOID
from rerank.backends import loader as loader_module
from rerank.backends.base import LoadedModel
from rerank.backends.loader import LocalLoader
from rerank.backends.tokenisers import Tokenisers
from rerank.backends.warming import LENGTHS
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, download_command
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.downloads import Downloads, Progress
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER
from rerank.catalog.manifest import MANIFEST
from rerank.catalog.repository import Repository
from rerank.catalog.weight_files import parameters
from rerank.devices import Device
from rerank.errors import (
    FetchFailure,
    ModelTooLarge,
    ModelUnavailable,
    OutOfOrder,
    SettingsError,
    WeightsBroken,
    WeightsMissing,
)
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Placement
from rerank.scorers.fake import WordOverlapScorer
from tests.unit.catalog.folders import cut_short, write_checkpoint, write_json

WAIT = 10.0
PLACEMENT = Placement(Device(name="cpu", precision="fp32", description="of a test"), Path("nowhere"), 256)
MINE = ModelCard(id="maker/mine", repo="maker/mine")

Load = Callable[[ModelCard], LoadedModel]


class Scorers:
    """Stands for ``load_scorer``; notes what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[Checkpoint, ModelCard, Placement]] = []
        self.error: Exception | None = None

    def __call__(self, checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> WordOverlapScorer:
        self.asked.append((checkpoint, card, placement))
        if self.error:
            raise self.error
        return WordOverlapScorer()


class Hub:
    """Stands for the Hub: every model is there, or none."""

    def __init__(self) -> None:
        self.asked: list[tuple[ModelCard, Path, str]] = []
        self.progress: list[tuple[int, int]] = []
        self.parameters: int | None = None
        self.error: Exception | None = None

    def fetch(
        self,
        model: ModelCard,
        destination: Path,
        *,
        endpoint: str,
        progress: Callable[[int, int], None],
        accept: Callable[[Repository], None],
        min_free: int,
    ) -> Path:
        accept(Repository("maker/mine", "c0ffee", (), self.parameters))
        self.asked.append((model, destination, endpoint))
        if self.error:
            raise self.error
        for done, total in self.progress:
            progress(done, total)
        return write_checkpoint(destination)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf-cache"))


@pytest.fixture
def scorers(monkeypatch: pytest.MonkeyPatch) -> Scorers:
    scorers = Scorers()
    monkeypatch.setattr(loader_module, "load_scorer", scorers)
    monkeypatch.setattr(loader_module, "import_libraries", lambda *_: None)
    return scorers


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr("rerank.catalog.hub.fetch", hub.fetch)
    return hub


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def tokenisers() -> Iterator[Tokenisers]:
    with Tokenisers(1) as pool:
        yield pool


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    scheduler = Scheduler(DeviceSpec("test", BatchBudget(4, 1000)))
    yield scheduler
    scheduler.stop(WAIT)


@pytest.fixture
def load(models: Path, scorers: Scorers, hub: Hub, scheduler: Scheduler, tokenisers: Tokenisers) -> Load:
    loader = LocalLoader(Catalog(models), [PLACEMENT], scheduler, tokenisers, endpoint="https://mirror.test")
    return lambda card: loader.load(loader.find(card))


def complaint(load: Load, card: ModelCard) -> str:
    with pytest.raises(ModelUnavailable) as failure:
        load(card)
    return failure.value.message


class TestLoading:
    def test_a_model_on_disk_is_not_fetched(self, load: Load, models: Path, scorers: Scorers, hub: Hub) -> None:
        folder = write_checkpoint(models / "mine")
        model = load(MINE)
        assert model.card == MINE
        assert model.local
        assert (model.local.family, model.local.device) == (CROSS_ENCODER, "cpu")
        assert model.backend.max_length == 512
        assert model.local.load_seconds >= 0
        assert hub.asked == []
        ((checkpoint, *others),) = scorers.asked
        assert checkpoint.folder == folder
        assert others == [MINE, PLACEMENT]

    def test_a_model_is_loaded_onto_each_device(
        self,
        models: Path,
        scorers: Scorers,
        scheduler: Scheduler,
        tokenisers: Tokenisers,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        write_checkpoint(models / "mine")
        placements = [
            Placement(Device(name=name, precision="bf16", description="of a test"), Path("nowhere"))
            for name in ("cuda:0", "cuda:2")
        ]
        monkeypatch.setattr(loader_module, "memory_in_use", lambda _: 0)
        loader = LocalLoader(Catalog(models), placements, scheduler, tokenisers)
        local = loader.load(loader.find(MINE)).local
        assert local
        assert (local.device, local.runtime, local.precision) == ("cuda:0, cuda:2", "none", "fp32")
        assert [asked[2] for asked in scorers.asked] == placements

    def test_the_card_decides_the_precision_before_the_settings(
        self, models: Path, scorers: Scorers, scheduler: Scheduler, tokenisers: Tokenisers
    ) -> None:
        write_checkpoint(models / "mine")

        def placements_in(precision: str) -> list[Placement]:
            return [replace(PLACEMENT, device=replace(PLACEMENT.device, precision=precision))]

        loader = LocalLoader(Catalog(models), [PLACEMENT], scheduler, tokenisers, placements_in=placements_in)
        for card in (ModelCard(id="mine"), ModelCard(id="mine", precision="bf16")):
            loader.load(loader.find(card))
        assert [asked[2].device.precision for asked in scorers.asked] == ["fp32", "bf16"]

    def test_the_card_decides_the_family_before_the_checkpoint(self, load: Load, models: Path) -> None:
        write_checkpoint(models / "mine")
        local = load(ModelCard(id="mine", family=BI_ENCODER)).local
        assert local
        assert local.family is BI_ENCODER

    def test_the_expected_hash_passes(self, load: Load, models: Path) -> None:
        weights = write_checkpoint(models / "mine") / "model.safetensors"
        card = ModelCard(id="mine", sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
        assert load(card).card is card

    def test_a_model_that_is_not_on_disk_is_fetched(self, load: Load, models: Path, scorers: Scorers, hub: Hub) -> None:
        card = ModelCard(id="maker/mine", repo="mirror/mine", revision="v2")
        load(card)
        assert hub.asked == [(card, models / "mine", "https://mirror.test")]
        assert [asked[0].folder for asked in scorers.asked] == [models / "mine"]

    @pytest.mark.parametrize(("told", "fetched"), [(1_000_000_000, False), (1_000_000, True), (None, True)])
    def test_what_can_never_fit_into_memory_is_not_fetched(
        self,
        models: Path,
        scorers: Scorers,
        hub: Hub,
        scheduler: Scheduler,
        tokenisers: Tokenisers,
        told: int | None,
        fetched: bool,
    ) -> None:
        hub.parameters = told
        loader = LocalLoader(Catalog(models), [PLACEMENT], scheduler, tokenisers, budget={"cpu": 1_000_000_000})
        with nullcontext() if fetched else pytest.raises(ModelTooLarge) as refusal:
            loader.find(MINE)
        assert bool(hub.asked) == fetched
        if refusal:
            assert refusal.value.message == (
                "maker/mine needs 4.1 GB on cpu; the budget for models there has 1.0 GB (RERANK_MEMORY_BUDGET)."
            )

    def test_a_download_is_logged_once_for_each_further_tenth(
        self, load: Load, hub: Hub, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger=loader_module.__name__)
        hub.progress = [(0, 1000), (99, 1000), (100, 1000), (150, 1000), (430, 1000), (1000, 1000), (1000, 1000)]
        load(MINE)
        told = [record.getMessage() for record in caplog.records if record.getMessage().startswith("fetching")]
        assert told == [f"fetching maker/mine: {tenth} % of 1 kB" for tenth in (10, 40, 100)]

    def test_a_download_can_be_watched_while_it_lasts(
        self, models: Path, scorers: Scorers, hub: Hub, scheduler: Scheduler, tokenisers: Tokenisers
    ) -> None:
        downloads = Downloads()
        seen: list[Progress | None] = []

        class Steps(list[tuple[int, int]]):
            def __iter__(self) -> Iterator[tuple[int, int]]:
                for step in [(0, 100), (60, 100)]:
                    seen.append(downloads.of("maker/mine"))
                    yield step
                seen.append(downloads.of("maker/mine"))

        hub.progress = Steps()
        loader = LocalLoader(
            Catalog(models), [PLACEMENT], scheduler, tokenisers, endpoint="https://mirror.test", downloads=downloads
        )
        loader.load(loader.find(MINE))
        assert seen == [None, Progress(0, 100), Progress(60, 100)]
        assert downloads.of("maker/mine") is None

    def test_a_download_that_failed_is_no_longer_shown(self) -> None:
        downloads = Downloads()
        with suppress(RuntimeError), downloads.watched("maker/mine") as tell:
            tell(1, 2)
            assert downloads.of("maker/mine") == Progress(1, 2)
            raise RuntimeError("broke off")
        assert downloads.of("maker/mine") is None

    def test_a_download_of_nothing_is_no_mistake(self, load: Load, hub: Hub) -> None:
        hub.progress = [(0, 0)]
        assert load(MINE).card is MINE

    def test_its_size_is_what_memory_has_grown_by(
        self, load: Load, models: Path, scorers: Scorers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_checkpoint(models / "mine")
        readings = iter([5_000_000, 8_000_000])
        monkeypatch.setattr(loader_module, "memory_in_use", lambda _: next(readings))
        assert load(MINE).size == {"cpu": 3_000_000}

    def test_its_size_is_no_less_than_its_weights(
        self, load: Load, models: Path, scorers: Scorers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_checkpoint(models / "mine")
        monkeypatch.setattr(loader_module, "memory_in_use", lambda _: 7)
        assert load(MINE).size == {"cpu": 4 * parameters([folder / "model.safetensors"])}

    def test_a_model_is_warm_before_it_is_handed_out(
        self, load: Load, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scorer = WordOverlapScorer()
        monkeypatch.setattr(loader_module, "load_scorer", lambda *_: scorer)
        monkeypatch.setattr(loader_module, "import_libraries", lambda *_: None)
        write_checkpoint(models / "mine")
        load(MINE)
        assert len(scorer.batches) == len(LENGTHS)

    def test_the_same_weights_have_the_same_fingerprint_when_they_are_loaded_again(
        self, load: Load, models: Path
    ) -> None:
        folder = write_checkpoint(models / "mine")
        first, second = load(MINE).fingerprint, load(MINE).fingerprint
        assert first == second != ""
        weights = bytearray((folder / "model.safetensors").read_bytes())
        weights[-1] ^= 1
        (folder / "model.safetensors").write_bytes(weights)
        assert load(MINE).fingerprint not in (first, "")

    def test_a_card_that_says_what_the_checkpoint_says_has_the_same_weights(self, load: Load, models: Path) -> None:
        write_checkpoint(models / "mine")
        said = replace(MINE, family="cross-encoder", activation=SIGMOID, pinned=True)
        assert load(said).weights == load(MINE).weights != ""
        assert load(replace(MINE, instruction="find it")).weights != load(MINE).weights

    def test_weights_that_change_while_they_are_loaded_have_no_fingerprint(
        self, load: Load, models: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = write_checkpoint(models / "mine")

        def while_it_changes(*_: object) -> WordOverlapScorer:
            (folder / "tokenizer.json").write_text('{"changed": true}')
            return WordOverlapScorer()

        monkeypatch.setattr(loader_module, "load_scorer", while_it_changes)
        assert load(MINE).fingerprint == ""
        assert (
            "scores of maker/mine are neither cached nor calibrated: its files changed while it was loaded"
            in caplog.text
        )


class TestFailures:
    def test_a_broken_folder_is_told_with_its_file_and_the_command_that_mends_it(
        self, load: Load, models: Path, hub: Hub
    ) -> None:
        cut_short(write_checkpoint(models / "mine") / "model.safetensors")
        message = complaint(load, MINE)
        assert message.startswith("maker/mine cannot be used: mine/model.safetensors is corrupt or cut short")
        assert message.endswith(f"Repair the folder, or fetch it again: {download_command('maker/mine')} --force")
        assert str(models.parent) not in message
        assert hub.asked == []

    @pytest.mark.parametrize("card", [MINE, ModelCard(id="mine")], ids=["repository", "folder"])
    def test_a_model_of_another_kind_is_named_and_nothing_is_to_be_repaired(
        self, load: Load, models: Path, card: ModelCard
    ) -> None:
        write_checkpoint(models / "mine", {"architectures": ["JinaForRanking"]})
        message = complaint(load, card)
        assert message.startswith(f"{card.id} cannot be used: mine is a listwise reranker (JinaForRanking): ")
        assert message.endswith("such as BAAI/bge-reranker-v2-m3.")

    def test_a_card_decides_the_family_of_a_folder_that_shows_none(self, load: Load, models: Path) -> None:
        write_checkpoint(models / "mine", {"architectures": ["BertModel"], "model_type": "bert"})
        assert "is not a reranker" in complaint(load, ModelCard(id="mine"))
        local = load(ModelCard(id="mine", family=BI_ENCODER)).local
        assert local
        assert local.family is BI_ENCODER

    def test_a_broken_folder_without_repository_can_only_be_mended(self, load: Load, models: Path) -> None:
        (write_checkpoint(models / "mine") / "config.json").unlink()
        assert complaint(load, ModelCard(id="mine")) == (
            "mine cannot be used: mine/config.json is missing. Repair the folder; the next request will retry."
        )

    def test_the_next_request_loads_a_mended_folder(self, load: Load, models: Path) -> None:
        folder = write_checkpoint(models / "mine")
        (folder / "config.json").unlink()
        complaint(load, MINE)
        write_checkpoint(folder)
        assert load(MINE).card is MINE

    def test_weights_of_another_hash_are_refused(self, load: Load, models: Path, scorers: Scorers) -> None:
        write_checkpoint(models / "mine")
        message = complaint(load, ModelCard(id="mine", sha256="0" * 64))
        assert "mine/model.safetensors has sha256" in message
        assert scorers.asked == []

    def test_another_revision_than_the_pinned_is_refused_with_the_command_that_fetches_it(
        self, load: Load, models: Path, scorers: Scorers
    ) -> None:
        write_json(write_checkpoint(models / "mine") / MANIFEST, {"repo": "maker/mine", "commit": "a" * 40})
        message = complaint(load, replace(MINE, revision="b" * 40))
        assert message.startswith("maker/mine cannot be used: models/mine holds commit aaaaaaaaaaaa of maker/mine")
        assert message.endswith(f"{download_command('maker/mine')} --force")
        assert scorers.asked == []

    def test_a_precision_the_device_does_not_have_is_told(
        self, models: Path, scorers: Scorers, scheduler: Scheduler, tokenisers: Tokenisers
    ) -> None:
        write_checkpoint(models / "mine")

        def placements_in(precision: str) -> list[Placement]:
            raise SettingsError("MODEL_PRECISION=int8 is for OpenVINO on the CPU")

        loader = LocalLoader(Catalog(models), [PLACEMENT], scheduler, tokenisers, placements_in=placements_in)
        assert complaint(lambda card: loader.load(loader.find(card)), replace(MINE, precision="int8")) == (
            "maker/mine cannot be used: its card asks for precision int8. "
            "MODEL_PRECISION=int8 is for OpenVINO on the CPU"
        )

    def test_weights_that_do_not_load_are_told_the_same_way(self, load: Load, models: Path, scorers: Scorers) -> None:
        write_checkpoint(models / "mine")
        scorers.error = WeightsBroken("mine has no weights for classifier.bias")
        assert complaint(load, MINE).startswith(
            "maker/mine cannot be used: mine has no weights for classifier.bias. Repair"
        )

    def test_a_model_that_is_nowhere_is_told_where_to_put_it(self, load: Load, hub: Hub) -> None:
        with pytest.raises(WeightsMissing) as failure:
            load(ModelCard(id="mine"))
        assert failure.value.message == (
            "mine has no weights on disk and names no Hub repository. Put them into models/mine."
        )
        assert failure.value.failure is FetchFailure.NOT_FOUND
        assert hub.asked == []

    def test_a_failed_download_is_told_as_it_is(self, load: Load, hub: Hub) -> None:
        hub.error = WeightsMissing("the Hub is unreachable", FetchFailure.UNREACHABLE)
        assert complaint(load, MINE) == "the Hub is unreachable"

    def test_a_failed_load_does_not_block_the_next(self, load: Load, models: Path, scorers: Scorers) -> None:
        write_checkpoint(models / "mine")
        scorers.error = RuntimeError("no memory")
        with pytest.raises(RuntimeError):
            load(MINE)
        scorers.error = None
        assert load(MINE).card is MINE

    def test_memory_that_runs_out_is_no_broken_folder(
        self, load: Load, models: Path, scorers: Scorers, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_checkpoint(models / "mine")
        scorers.error = MemoryError("std::bad_alloc of 4 GB")
        message = complaint(load, MINE)
        assert message.startswith("maker/mine cannot be loaded now: memory ran out. Unload another model")
        assert "bad_alloc" not in message
        assert "std::bad_alloc of 4 GB" in caplog.text

    def test_what_was_loaded_before_a_failure_is_let_go_while_the_error_is_still_told(
        self,
        models: Path,
        scheduler: Scheduler,
        tokenisers: Tokenisers,
        monkeypatch: pytest.MonkeyPatch,
        scorers: Scorers,
    ) -> None:
        write_checkpoint(models / "mine")
        first: list[weakref.ref[WordOverlapScorer]] = []

        def load_scorer(*_: object) -> WordOverlapScorer:
            if first:
                raise MemoryError("the second device is full")
            scorer = WordOverlapScorer()
            first.append(weakref.ref(scorer))
            return scorer

        monkeypatch.setattr(loader_module, "load_scorer", load_scorer)
        loader = LocalLoader(Catalog(models), [PLACEMENT, PLACEMENT], scheduler, tokenisers)
        with pytest.raises(ModelUnavailable) as failure:
            loader.load(loader.find(MINE))
        assert failure.value.__cause__
        assert [scorer() for scorer in first] == [None]

    def test_a_device_lost_by_a_load_takes_no_more_work(
        self, models: Path, scorers: Scorers, tokenisers: Tokenisers
    ) -> None:
        write_checkpoint(models / "mine")
        scorers.error = RuntimeError("CUDA error: device-side assert triggered")
        scheduler = Scheduler(DeviceSpec("cuda:0", BatchBudget(4, 1000), is_lost=lambda: scorers.asked != []))
        loader = LocalLoader(Catalog(models), [PLACEMENT], scheduler, tokenisers)
        with pytest.raises(OutOfOrder, match="every call to cuda:0 fails"):
            loader.load(loader.find(MINE))
        assert scheduler.trouble
        scheduler.stop(WAIT)
