"""Atomic downloads of models from the Hub. The server's lazy load and the download command share it.

A model grows in ``<models_dir>/.incomplete/<basename>`` and is renamed into place when every file has the size and hash
the Hub states and the folder is a whole checkpoint. Nothing here prints.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import hf_hub_url
from huggingface_hub.errors import HfHubHTTPError

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import is_started, read_checkpoint, refuse_other_kinds
from rerank.catalog.failures import MissingFile, Source, explaining
from rerank.catalog.manifest import MANIFEST
from rerank.catalog.own_code import refuse_untrusted_code
from rerank.catalog.pickles import pickles_in
from rerank.catalog.repository import Repository, inspect_source, is_weights, source_of
from rerank.catalog.room import check_room, keeping_free, sized
from rerank.catalog.staging import check_vacant, exclusive, prune, put_in_place, settle, staging_folder
from rerank.catalog.transfer import RemoteFile, transfer
from rerank.catalog.weight_files import WEIGHTS_FILE
from rerank.errors import WeightsBroken
from rerank.units import human_size

Convert = Callable[[Path], tuple[Path, ...]]
"""Writes safetensors next to the pickles in a folder, and returns the pickles."""


def fetch(
    model: ModelCard | str,
    destination: Path,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    replace: bool = False,
    accept: Callable[[Repository], None] | None = None,
    min_free: int = 0,
    convert: Convert | None = None,
) -> Path:
    """Bring a model to the folder ``destination`` and return that folder.

    ``progress`` gets the bytes on disk and the bytes in all. A folder that is there is returned as it is, unless
    ``replace``; then it stays usable until the new one is whole. An empty folder gives way, and nothing else does.
    ``accept`` raises for a repository that should not be fetched, and ``min_free`` bytes of the disk stay free. With
    ``convert`` pickled weights are fetched where there are no others, and it makes safetensors of them. While another
    process or thread fetches the same model this one waits. Raises WeightsMissing, WeightsBroken (what is there, or
    what the Hub has, is no checkpoint), ModelUnavailable (it needs code that its card does not trust), and OSError
    where the disk misbehaves in other ways than being full or read-only.
    """
    card = model if isinstance(model, ModelCard) else ModelCard(id=model, repo=model)
    if card.repo is None:
        raise ValueError(f"{card.id} has no repository on the Hub")
    revision = revision or card.revision
    source = source_of(card, revision, endpoint, destination)
    pickles = convert is not None
    repository, source = inspect_source(source, with_code=card.trust_remote_code, with_pickles=pickles)
    _check_expected_hash(card, repository, source)
    if accept:
        accept(repository)
    with explaining(source), exclusive(destination, card.id):
        settle(destination)
        if not replace:
            if is_started(destination):
                return read_checkpoint(destination, card).folder
            check_vacant(destination, card.id)
        staging = staging_folder(destination)
        prune(staging, repository.files)
        check_room(staging, repository, source, min_free)
        report = keeping_free(_counter(repository.total_bytes, progress or _unwatched), staging, source, min_free)
        with sized(staging, repository, source):
            _download_all(card, repository, staging, source, report)
            if convert and repository.pickled_bytes:
                _convert(staging, convert)
            _finish(staging, card, repository, revision)
        put_in_place(staging, destination, replace=replace)
    return destination


def _download_all(
    card: ModelCard, repository: Repository, staging: Path, source: Source, report: Callable[[int], None]
) -> None:
    small = tuple(file for file in repository.files if not is_weights(file))
    _download(small, repository.commit, staging, source, report)
    # before gigabytes come that would not be loaded
    with _cleared_if_refused(staging):
        refuse_other_kinds(staging, card)
    refuse_untrusted_code(staging, card)
    _download(repository.files[len(small) :], repository.commit, staging, source, report)


def convert_in_place(card: ModelCard, folder: Path, convert: Convert) -> tuple[Path, ...]:
    """Make safetensors of the pickles in a model's folder, and return the pickles, which stay. Raises as ``fetch``."""
    source = source_of(card, None, None, folder)
    with explaining(source), exclusive(folder, card.id):
        needed, free = sum(file.stat().st_size for file in pickles_in(folder)), shutil.disk_usage(folder).free
        if needed > free:
            raise source.disk_full(
                f"Converting {card.id} needs {human_size(needed)} on the disk of the models folder, which has "
                f"{human_size(free)} free"
            )
        return convert(folder)


def _convert(staging: Path, convert: Convert) -> None:
    with _cleared_if_refused(staging):
        for file in convert(staging):
            file.unlink()


def _check_expected_hash(card: ModelCard, repository: Repository, source: Source) -> None:
    """Refuse before the download what the load would refuse after it."""
    for file in repository.files:
        if card.sha256 and file.path == WEIGHTS_FILE and file.sha256 != card.sha256:
            raise source.unexpected(WEIGHTS_FILE, file.sha256, card.sha256)


def _counter(total: int, progress: Callable[[int, int], None]) -> Callable[[int], None]:
    """A callback for the bytes of each step that passes their sum to ``progress``."""
    done = 0

    def report(added: int) -> None:
        nonlocal done
        done += added
        progress(done, total)

    return report


def _download(
    files: Iterable[RemoteFile], commit: str, staging: Path, source: Source, report: Callable[[int], None]
) -> None:
    for file in files:
        url = hf_hub_url(source.repo, file.path, revision=commit, endpoint=source.endpoint)
        try:
            transfer(url, file, staging / file.path, report, source.token)
        except HfHubHTTPError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            raise MissingFile(file.path) from error


def _unwatched(_done: int, _total: int) -> None:
    """Reports nothing."""


def _finish(staging: Path, card: ModelCard, repository: Repository, revision: str | None) -> None:
    """Last check, then the manifest. Raises WeightsBroken for a repository that is sound but no reranker."""
    with _cleared_if_refused(staging):
        read_checkpoint(staging, card)
    manifest = asdict(repository) | {"revision": revision}
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


@contextmanager
def _cleared_if_refused(staging: Path) -> Iterator[None]:
    """Remove what was fetched of a model that is refused: every file is as the Hub has it, so keeping it is no help."""
    try:
        yield
    except WeightsBroken:
        shutil.rmtree(staging)
        raise
