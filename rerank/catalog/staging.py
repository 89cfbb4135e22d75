"""Staging folder and atomic replacement for downloads."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from rerank.catalog.catalog import download_command
from rerank.catalog.folder_files import broken
from rerank.catalog.transfer import RemoteFile, part_of

_LOG = logging.getLogger(__name__)
_STAGING = ".incomplete"


def staging_folder(destination: Path) -> Path:
    """The staging folder of a model. It exists during a download and after an interrupted one."""
    return destination.parent / _STAGING / destination.name


@contextmanager
def exclusive(destination: Path, model_id: str) -> Iterator[None]:
    """Hold the destination's lock, waiting for it if need be. Raises OSError if the folder cannot be written."""
    lock_file = _sibling(destination, "lock")
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        _LOG.warning("%s is being fetched by another process; waiting for it", model_id)
        lock.acquire(poll_interval=0.2)
    try:
        yield
    finally:
        lock.release()


def check_vacant(destination: Path, model_id: str) -> None:
    """Raise WeightsBroken unless nothing, or an empty folder, is where the model belongs."""
    if occupied := _occupied_by(destination):
        raise broken(
            destination,
            f"{occupied}, where {model_id} belongs. Move it away, or replace it with "
            f"`{download_command(model_id)} --force`.",
        )


def _occupied_by(destination: Path) -> str | None:
    if destination.is_symlink():
        return "is a link that leads to no model"
    if destination.is_dir():
        entry = next(destination.iterdir(), None)
        return f"holds {entry.name!a}" if entry else None
    return "is no folder" if os.path.lexists(destination) else None


def prune(staging: Path, files: tuple[RemoteFile, ...]) -> None:
    """Delete what an earlier run left of another commit. Raises OSError."""
    staging.mkdir(exist_ok=True)
    kept = {staging / file.path for file in files} | {part_of(staging / file.path, file) for file in files}
    for entry in list(staging.rglob("*")):
        if entry.is_file() and entry not in kept:
            entry.unlink()


def put_in_place(staging: Path, destination: Path, *, replace: bool) -> None:
    """One rename. With ``replace`` what was there before is moved aside first and deleted last.

    Raises OSError, all being as before: also for more than an empty folder that is there, without ``replace``.
    """
    aside = _sibling(destination, "replaced")
    if replace and os.path.lexists(destination):
        destination.rename(aside)
    try:
        staging.rename(destination)
    except OSError:
        settle(destination)
        raise
    settle(destination)


def settle(destination: Path) -> None:
    """Delete what a replacement moved aside, or put it back if the replacement never arrived. Raises OSError."""
    aside = _sibling(destination, "replaced")
    if not os.path.lexists(aside):
        return
    if not os.path.lexists(destination):
        aside.rename(destination)
    elif aside.is_symlink() or aside.is_file():
        aside.unlink()
    else:
        shutil.rmtree(aside)


def _sibling(destination: Path, kind: str) -> Path:
    # no name of a repository begins with a dot: a model `x.lock` is none of the siblings of `x`
    return staging_folder(destination).with_name(f".{destination.name}.{kind}")
