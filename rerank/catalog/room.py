"""Disk space of the models folder: checked before a download and while it runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rerank.catalog.failures import NO_ROOM, Source
from rerank.catalog.repository import Repository
from rerank.units import human_size

_MARGIN = 50_000_000
_CHECKED_AFTER = 64_000_000
"""Bytes between two checks of the free disk space."""


def check_room(staging: Path, repository: Repository, source: Source, min_free: int) -> None:
    """Raise WeightsMissing unless the download fits, ``min_free`` bytes staying free."""
    # safetensors are as large as the pickles that they are made of, next to which they lie for a while
    missing = _missing_bytes(staging, repository) + repository.pickled_bytes
    free = shutil.disk_usage(staging).free
    if free < missing + max(_MARGIN, min_free):
        raise source.disk_full(
            f"{source.model_id} needs {human_size(missing + _MARGIN)} more on the disk of the models folder, "
            f"which has {human_size(free)} free{_kept(min_free)}"
        )


def _kept(min_free: int) -> str:
    return f" and keeps {human_size(min_free)} of it (RERANK_MIN_FREE_DISK)" if min_free else ""


def keeping_free(report: Callable[[int], None], staging: Path, source: Source, min_free: int) -> Callable[[int], None]:
    """``report``, but it raises WeightsMissing once the disk has less than that free: others write to it too."""
    unchecked = 0

    def watched(added: int) -> None:
        nonlocal unchecked
        report(added)
        unchecked += max(0, added)
        if unchecked >= _CHECKED_AFTER:
            unchecked = 0
            free = shutil.disk_usage(staging).free
            if free < min_free:
                raise source.disk_full(
                    f"The disk of the models folder has {human_size(free)} free{_kept(min_free)}, so that "
                    f"fetching {source.model_id} was stopped"
                )

    return watched


@contextmanager
def sized(staging: Path, repository: Repository, source: Source) -> Iterator[None]:
    """Turn a full disk during the download into the error that says how much is needed."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        needed = human_size(_missing_bytes(staging, repository) + _MARGIN)
        raise source.disk_full(
            f"The disk of the models folder filled up while {source.model_id} was fetched, which needs {needed} more"
        ) from error


def _missing_bytes(staging: Path, repository: Repository) -> int:
    held = sum(entry.stat().st_size for entry in staging.rglob("*") if entry.is_file())
    return repository.total_bytes - held
