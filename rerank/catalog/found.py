"""Cards of folders that no card describes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from rerank.catalog.cards import ModelCard
from rerank.catalog.folders import ModelFolder
from rerank.catalog.manifest import read_manifest
from rerank.catalog.models_file import check_repository_name
from rerank.catalog.names import is_plain
from rerank.errors import SettingsError
from rerank.units import expand_home


def is_repository(name: str) -> bool:
    """True if the name has the form of a Hub repository with its organisation."""
    try:
        check_repository_name(name)
    except ValueError:
        return False
    return "/" in name


def repository_of(folder: Path, name: str) -> str | None:
    """The repository that a folder says it was fetched from.

    Trusted only if a fetch would have given the folder this name; else the manifest came from elsewhere with its files,
    and would have them answer to another model's name.
    """
    fetched = read_manifest(folder)
    if fetched is None or not is_repository(fetched.repo):
        return None
    repo = fetched.repo
    return repo if name in (repo.rsplit("/", 1)[-1], repo.replace("/", "--"), repo) else None


def cards_of(folder: ModelFolder, models_dir: Path) -> Iterator[ModelCard]:
    """Cards for a folder of the models folder, the best first: by its repository's name if that is sure, by its own."""
    aliases = () if "/" in folder.name else (folder.name,)
    if folder.cached:
        aliases = (folder.path.parents[1].name,)
        yield ModelCard(id=folder.name, repo=folder.name, aliases=aliases, path=folder.path)
    elif repo := repository_of(folder.path, folder.name):
        yield ModelCard(id=repo, repo=repo, aliases=aliases, path=folder.path)
    inside = folder.path.relative_to(models_dir).as_posix()
    yield ModelCard(id=inside, path=None if inside == folder.name and aliases else folder.path)
    # a card with a path elsewhere may have taken that name
    yield ModelCard(id=f"{models_dir.name}/{inside}", path=folder.path)


def card_of_folder(name: str) -> ModelCard | None:
    """A card for a folder anywhere on this machine; None if there is no such folder. Raises SettingsError.

    The operator chose the folder, so its manifest is trusted.
    """
    try:
        given = expand_home(Path(name))
        folder = Path(os.path.realpath(given))
        if not given.is_dir() or not is_plain(folder.name):
            return None
    except (ValueError, OSError) as error:
        raise SettingsError(str(error)) from error
    if not (folder / "config.json").is_file():
        if is_repository(name):
            return None
        raise SettingsError(f"the folder {folder} is there, but {folder / 'config.json'} is missing")
    fetched = read_manifest(folder)
    if fetched is None or not is_repository(fetched.repo):
        return ModelCard(id=folder.name, path=folder, aliases=(name,))
    return ModelCard(id=fetched.repo, repo=fetched.repo, path=folder, aliases=(folder.name, name))
