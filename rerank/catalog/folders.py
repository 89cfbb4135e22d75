"""The models folder: finds the folders that hold a model, in any layout. Reads no model."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rerank.catalog.names import fold, is_plain, spelt_out
from rerank.errors import SettingsError
from rerank.text_file import UnfitFile, read_text

logger = logging.getLogger(__name__)

CONFIG = "config.json"
CACHED = "models--"
"""Layout of huggingface_hub's cache: ``models--org--name`` for ``org/name``."""
_ENTRIES = 20_000
"""Entries of the models folder, and of folders in it, that are looked at."""
_MODELS = 1_000
"""Folders that are taken for models."""
_CHEAP = 200
_ENTRIES_A_SECOND = 5_000
"""With more than a few entries there is a pause after each look, so that looking takes a small part of the time."""
_REFERENCE_BYTES = 200


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with a model's configuration in it."""

    path: Path
    name: str
    """Its place in the models folder: ``name``, or ``organisation/name``."""
    changed: int = 0
    """When, so that another model in its place is noticed."""
    cached: bool = False
    """True for a snapshot in the layout of huggingface_hub's cache, whose name is a repository's for certain."""


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of the models folder at the last look."""

    models: tuple[ModelFolder, ...] = ()
    bare: tuple[Path, ...] = ()
    """Folders without a configuration that are no organisation's either."""
    _spellings: Mapping[str, tuple[Path, ...]] = field(default_factory=dict, compare=False, repr=False)
    _bare_spellings: Mapping[str, Path] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, models_dir: Path, models: Iterable[ModelFolder], bare: Iterable[Path]) -> Listing:
        """Ordered by name, and with every spelling ready to be looked up."""
        models, bare = tuple(sorted(models, key=lambda found: found.name)), tuple(sorted(bare))
        spellings: dict[str, tuple[Path, ...]] = {}
        for folder in models:
            spelling = spelt_out(fold(folder.name))
            spellings[spelling] = (*spellings.get(spelling, ()), folder.path)
        parents = ("", f"{models_dir.name}/", f"{models_dir}/", f"{os.path.realpath(models_dir)}/")
        bare_spellings = {fold(f"{parent}{folder.name}"): folder for folder in bare for parent in parents}
        return cls(models, bare, spellings, bare_spellings)

    def spelt(self, name: str) -> Path | None:
        """The one folder of this name, however it is spelt; None where there is none or more than one."""
        found = self._spellings.get(spelt_out(fold(name)), ())
        return found[0] if len(found) == 1 else None

    def bare_folder(self, name: str) -> Path | None:
        """A folder without configuration that would answer to the name, were it a model."""
        return self._bare_spellings.get(fold(name))


class ModelsFolder:
    """A view of the models folder, refreshed as often as that is cheap. May be used from several threads."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._listing = Listing()
        self._changed: int | None = None
        self._next_look = 0.0
        self._told: set[str] = set()
        self.is_large = False
        """True if the last look saw more than a few entries."""

    def check(self) -> None:
        """Raise SettingsError where the folder is there but cannot be looked into, and where it cannot be."""
        try:
            with os.scandir(self.path):
                pass
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not os.path.lexists(self.path):
                return
            raise SettingsError(f"RERANK_MODELS_DIR: {self.path} cannot be read: {error.strerror}") from error

    def listing(self) -> Listing:
        """The folder as it is, or, where it holds thousands of entries, as it was a moment ago."""
        with self._lock:
            changed = _changed(self.path)
            if changed != self._changed or self._clock() >= self._next_look:
                self._look()
                self._changed = changed
            return self._listing

    def _look(self) -> None:
        looking = _Look(self.path, self._tell)
        models = self._found(looking)
        if len(models) > _MODELS:
            self._tell(f"only {_MODELS} of {len(models)} models in {self.path} are served")
        listing = Listing.of(self.path, models[:_MODELS], looking.bare)
        # the same object as long as nothing changed, for those who keep what they made of it
        self._listing = self._listing if listing == self._listing else listing
        self.is_large = looking.entries > _CHEAP
        self._next_look = self._clock() + (looking.entries / _ENTRIES_A_SECOND if self.is_large else 0.0)

    def _found(self, looking: _Look) -> list[ModelFolder]:
        try:
            return sorted(looking.models(), key=lambda found: found.name)
        except OSError as error:
            self._tell(f"{self.path} cannot be read ({error.strerror}): no model in it is found")
            return []

    def _tell(self, what: str) -> None:
        """Log a warning once, not for each request."""
        if what not in self._told and len(self._told) < _ENTRIES:
            self._told.add(what)
            logger.warning("%s", what)


class _Look:
    """One look through the models folder."""

    def __init__(self, models_dir: Path, tell: Callable[[str], None]) -> None:
        self.entries = 0
        self.bare: list[Path] = []
        self._models_dir = models_dir
        self._tell = tell

    def models(self) -> Iterator[ModelFolder]:
        """Every folder that holds a model."""
        for folder in self._folders(self._models_dir):
            try:
                yield from self._models_at(folder)
            except OSError as error:
                self._tell(f"{folder} cannot be read ({error.strerror}); passed over")

    def _models_at(self, folder: Path) -> Iterator[ModelFolder]:
        if _has_config(folder):
            yield _model(folder, folder.name)
        elif folder.name.startswith(CACHED):
            if snapshot := _snapshot(folder):
                name = folder.name.removeprefix(CACHED).replace("--", "/", 1)
                yield _model(snapshot, name, cached=True)
        elif models := [inner for inner in self._folders(folder, exclusive=True) if _has_config(inner)]:
            yield from (_model(inner, f"{folder.name}/{inner.name}") for inner in models)
        else:
            self.bare.append(folder)

    def _folders(self, parent: Path, *, exclusive: bool = False) -> list[Path]:
        """Visible folders in a folder; with ``exclusive``, none if it also holds files."""
        folders: list[Path] = []
        if not parent.is_dir():
            return folders
        with os.scandir(parent) as entries:
            for entry in entries:
                self.entries += 1
                if self.entries > _ENTRIES:
                    self._tell(f"only {_ENTRIES} entries of {self._models_dir} are looked at; it holds more")
                    break
                if entry.name.startswith("."):
                    continue
                if self._is_folder(parent, entry):
                    self._add(parent / entry.name, folders)
                elif exclusive:
                    return []
        return folders

    def _is_folder(self, parent: Path, entry: os.DirEntry[str]) -> bool:
        try:
            return entry.is_dir()
        except OSError as error:
            self._tell(f"{str(parent / entry.name)!r} cannot be read ({error.strerror}); passed over")
            return False

    def _add(self, folder: Path, folders: list[Path]) -> None:
        if is_plain(folder.name):
            folders.append(folder)
        else:
            self._tell(f"{folder.parent} holds a folder with a name that no model has: {folder.name!r}; passed over")


def _snapshot(folder: Path) -> Path | None:
    """The snapshot that ``refs/main`` names in a folder of huggingface_hub's cache."""
    try:
        commit = read_text(folder / "refs" / "main", _REFERENCE_BYTES).strip()
    except (OSError, UnfitFile):
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if is_plain(commit) and "/" not in commit and _has_config(snapshot) else None


def _model(folder: Path, name: str, *, cached: bool = False) -> ModelFolder:
    return ModelFolder(folder, name, folder.stat().st_mtime_ns, cached)


def _has_config(folder: Path) -> bool:
    """Raises PermissionError where that cannot be seen."""
    return (folder / CONFIG).is_file()


def _changed(folder: Path) -> int | None:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return None
