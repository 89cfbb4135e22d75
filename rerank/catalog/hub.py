"""Fetch a model from the Hub, whole or not at all. The server's lazy load and the download command share it.

A model grows in ``<models_dir>/.incomplete/<basename>`` and is renamed into place when every file has the size and hash
the Hub states and the folder is a whole checkpoint. Nothing here prints.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

from huggingface_hub import HfApi, ModelInfo, constants, hf_hub_url
from huggingface_hub.errors import HFValidationError

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import WEIGHTS_FILE, WEIGHTS_INDEX, is_started, read_checkpoint
from rerank.catalog.failures import NO_ROOM, Source, told
from rerank.catalog.manifest import MANIFEST
from rerank.catalog.own_code import refuse_untrusted_code
from rerank.catalog.staging import alone, prune, put_in_place, settle, staging_folder
from rerank.catalog.transfer import RemoteFile, transfer
from rerank.errors import WeightsBroken

_Answer = TypeVar("_Answer")
_ANSWER_TIMEOUT = 5.0
_INSPECT_LIMIT = 15.0
"""Seconds for the one request that inspects. Longer than its timeout, which holds for each address of a name anew."""
_MARGIN = 50_000_000
_WANTED = {".json", ".txt", ".model", ".jinja"}
# leftovers of training and indices of weights that are not loaded
_UNWANTED = re.compile(r"(^trainer_state\.json|^training_args.*|(?<!^model\.safetensors)\.index\.json)$")
# a module of sentence-transformers, such as 1_Pooling or 2_Dense
_MODULE_FOLDER = re.compile(r"^(\w+_)?\d+_\w+$")
_SHARD = re.compile(r"^model-\d{5}-of-\d{5}\.safetensors$")


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository at one commit, reduced to the files this server needs."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]
    """Small files first and weights last, so that what is wrong with a repository shows early."""
    parameters: int | None = None
    """How many the Hub says there are in the weights, where it says so."""

    @property
    def total_bytes(self) -> int:
        """Size of the whole download."""
        return sum(file.size for file in self.files)


def inspect_repository(
    repo: str, revision: str | None = None, endpoint: str | None = None, model_id: str | None = None
) -> Repository:
    """Ask the Hub, in one request, which files the model needs. Takes at most 15 seconds.

    ``endpoint`` is the Hub's address (None: huggingface_hub's own setting), ``model_id`` the name that messages tell
    the user to download by (None: ``repo``). Raises WeightsMissing.
    """
    return _inspect(_source(ModelCard(id=model_id or repo, repo=repo), revision, endpoint))


def _inspect(source: Source, *, with_code: bool = False) -> Repository:
    api = HfApi(endpoint=source.endpoint)

    def ask() -> ModelInfo:
        return api.model_info(source.repo, revision=source.revision, files_metadata=True, timeout=_ANSWER_TIMEOUT)

    with told(source):
        try:
            info = _within(_INSPECT_LIMIT, ask)
            files, commit = tuple(_described(info)), info.sha or ""
            parameters = info.safetensors.total if info.safetensors else None
        except TimeoutError as error:
            raise source.unreachable("does not answer (timeout)") from error
        except HFValidationError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise source.unreachable("does not answer as a Hub does") from error
    needed = tuple(sorted(select_files(files, with_code=with_code), key=_weights_last))
    if not any(map(_is_weights, needed)):
        raise source.no_safetensors("has no safetensors, and pickled weights are not loaded")
    if not any(file.path == "config.json" for file in needed):
        raise source.no_safetensors("has no config.json, so it is not a transformers model")
    return Repository(repo=source.repo, commit=commit, files=needed, parameters=parameters)


def fetch(
    model: ModelCard | str,
    destination: Path,
    *,
    revision: str | None = None,
    endpoint: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    replace: bool = False,
    accept: Callable[[Repository], None] | None = None,
) -> Path:
    """Bring a model to the folder ``destination`` and return that folder.

    ``progress`` is told the bytes on disk and the bytes in all. A folder that is there is returned as it is, unless
    ``replace``; then it stays usable until the new one is whole. ``accept`` raises for a repository that should not be
    fetched. While another process or thread fetches the same
    model this one waits. Raises WeightsMissing, WeightsBroken (what is there, or what the Hub has, is no checkpoint),
    ModelUnavailable (it needs code that its card does not trust), and OSError where the disk misbehaves in other ways
    than being full or read-only.
    """
    card = model if isinstance(model, ModelCard) else ModelCard(id=model, repo=model)
    if card.repo is None:
        raise ValueError(f"{card.id} has no repository on the Hub")
    revision = revision or card.revision
    source = _source(card, revision, endpoint, destination)
    repository = _inspect(source, with_code=card.trust_remote_code)
    _check_expected_hash(card, repository, source)
    if accept:
        accept(repository)
    with told(source), alone(destination, card.id):
        settle(destination)
        if is_started(destination) and not replace:
            return read_checkpoint(destination).folder
        staging = staging_folder(destination)
        prune(staging, repository.files)
        _check_room(staging, repository, source)
        small = tuple(file for file in repository.files if not _is_weights(file))
        report = _counter(repository.total_bytes, progress or _unwatched)
        with _sized(staging, repository, source):
            _download(small, repository.commit, staging, source, report)
            # before gigabytes come that would not be loaded
            refuse_untrusted_code(staging, card)
            _download(repository.files[len(small) :], repository.commit, staging, source, report)
            _finish(staging, repository, revision)
        put_in_place(staging, destination)
    return destination


def human_size(size: int) -> str:
    """Bytes as people say them, in decimal units: ``1.1 GB``."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.1f} GB"


def select_files(files: Iterable[RemoteFile], *, with_code: bool = False) -> list[RemoteFile]:
    """The files a model is loaded from: configuration, tokenizer, one set of safetensors; Python files on demand."""
    wanted = {*_WANTED, ".py"} if with_code else _WANTED
    readable = [file for file in files if _is_needed(PurePosixPath(file.path), wanted)]
    names = {file.path for file in readable}
    if WEIGHTS_FILE in names:
        left_out = {
            name for name in names if "/" not in name and name.endswith(".safetensors") and name != WEIGHTS_FILE
        }
        left_out.add(WEIGHTS_INDEX)
    elif WEIGHTS_INDEX in names:
        left_out = {name for name in names if "/" not in name and name.endswith(".safetensors")}
        left_out = {name for name in left_out if not _SHARD.match(name)}
    else:
        left_out = set()
    return [file for file in readable if file.path not in left_out]


def _is_needed(path: PurePosixPath, wanted: Set[str]) -> bool:
    if "\\" in str(path) or path.name.startswith(".") or _UNWANTED.search(path.name):
        return False
    folders = path.parts[:-1]
    if len(folders) > 1 or not all(_MODULE_FOLDER.match(folder) for folder in folders):
        return False
    return path.suffix == ".safetensors" or path.suffix in wanted


def _described(info: ModelInfo) -> Iterator[RemoteFile]:
    """Raises ValueError where the Hub (or what claims to be one) leaves out what a download is checked against."""
    if not info.sha:
        raise ValueError("no commit")
    for sibling in info.siblings or ():
        if sibling.size is None or sibling.blob_id is None:
            raise ValueError(f"no size or hash of {sibling.rfilename}")
        sha256 = sibling.lfs.sha256 if sibling.lfs else None
        yield RemoteFile(path=sibling.rfilename, size=sibling.size, sha256=sha256, git_sha1=sibling.blob_id)


def _source(card: ModelCard, revision: str | None, endpoint: str | None, destination: Path | None = None) -> Source:
    return Source(
        model_id=card.id,
        repo=card.repo or card.id,
        revision=revision,
        endpoint=(endpoint or constants.ENDPOINT).rstrip("/"),
        folder=f"{destination.parent.name}/{destination.name}" if destination else f"models/{card.basename}",
    )


def _within(seconds: float, ask: Callable[[], _Answer]) -> _Answer:
    """The answer, or TimeoutError: looking up a name and trying its addresses in turn know no common limit."""
    answer: Future[_Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=run, name="hub-inspect", daemon=True).start()
    return answer.result(timeout=seconds)


def _check_expected_hash(card: ModelCard, repository: Repository, source: Source) -> None:
    """Refuse before the download what the load would refuse after it."""
    for file in repository.files:
        if card.sha256 and file.path == WEIGHTS_FILE and file.sha256 != card.sha256:
            raise source.unexpected(WEIGHTS_FILE, file.sha256, card.sha256)


def _check_room(staging: Path, repository: Repository, source: Source) -> None:
    needed = _missing_bytes(staging, repository) + _MARGIN
    free = shutil.disk_usage(staging).free
    if free < needed:
        raise source.disk_full(
            f"{source.model_id} needs {human_size(needed)} more on the disk of the models folder, "
            f"which has {human_size(free)} free"
        )


@contextmanager
def _sized(staging: Path, repository: Repository, source: Source) -> Iterator[None]:
    """Have a disk that filled up on the way say how much more is needed; others write to it too."""
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


def _is_weights(file: RemoteFile) -> bool:
    return file.path.endswith(".safetensors")


def _weights_last(file: RemoteFile) -> tuple[bool, int, str]:
    return _is_weights(file), file.size, file.path


def _counter(total: int, progress: Callable[[int, int], None]) -> Callable[[int], None]:
    """What to tell each step's bytes to, so that ``progress`` is told their sum."""
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
        transfer(url, file, staging / file.path, report)


def _unwatched(_done: int, _total: int) -> None:
    """Nobody looks."""


def _finish(staging: Path, repository: Repository, revision: str | None) -> None:
    """Last check, then the manifest. Raises WeightsBroken for a repository that is sound but no reranker."""
    try:
        read_checkpoint(staging)
    except WeightsBroken:
        # every file is as the Hub has it, so keeping them would not help the next run
        shutil.rmtree(staging)
        raise
    manifest = asdict(repository) | {"revision": revision}
    (staging / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
