"""The files of a Hub repository that a model needs, listed by one request and validated."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Annotated
from urllib.parse import quote

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from pydantic import Field, StringConstraints

from rerank.catalog.cards import ModelCard
from rerank.catalog.failures import Source, explaining
from rerank.catalog.folder_files import shown
from rerank.catalog.names import is_plain
from rerank.catalog.other_kinds import other_format
from rerank.catalog.pickles import pickled_weights
from rerank.catalog.session import read, token_for
from rerank.catalog.transfer import RemoteFile
from rerank.catalog.weight_files import WEIGHTS_FILE, WEIGHTS_INDEX
from rerank.schemas import Schema

logger = logging.getLogger(__name__)

_ANSWER_TIMEOUT = 5.0
_INSPECT_LIMIT = 15.0
"""Seconds for the request that lists the files. Longer than its timeout, which applies to each address of a name."""
_SMALL_BYTES = 500_000_000
"""The largest of published tokenizers has 40 MB."""
_LARGE = (".safetensors", ".bin", ".onnx", ".gguf", ".h5", ".msgpack", ".pt", ".pth", ".ot", ".pb")
_NAME_BYTES = 255
_WANTED = {".json", ".txt", ".model", ".jinja", ".metadata"}
# leftovers of training and indices of weights that are not loaded
_UNWANTED = re.compile(r"(^trainer_state\.json|^training_args.*|(?<!^model\.safetensors)\.index\.json)$")
# a module of sentence-transformers, such as 1_Pooling or 2_Dense
_MODULE_FOLDER = re.compile(r"^(\w+_)?\d+_\w+$")
_SHARD = re.compile(r"^model-\d{5}-of-\d{5}\.safetensors$")
_Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{64}$", to_lower=True)]
_Sha1 = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{40}$", to_lower=True)]
_FILES = 20_000
_BOT = "SFconvertbot"
_CONVERSIONS = 3
"""Pull requests of the bot that are looked at."""
_CONVERTED = (
    "has no safetensors, and pickled weights are not loaded. The Hub's own bot left safetensors in a pull request: "
    'name it in the card in models.toml, as in `revision = "{revision}"`, or fetch it with `rerank pull --revision '
    "{revision}`. `rerank pull --convert` converts the pickles instead."
)


class _Lfs(Schema):
    sha256: _Sha256


class Sibling(Schema):
    """One file."""

    rfilename: str
    size: Annotated[int, Field(ge=0)] | None = None
    blob_id: Annotated[_Sha1 | None, Field(alias="blobId")] = None
    lfs: _Lfs | None = None


class _Safetensors(Schema):
    total: Annotated[int, Field(ge=0)] | None = None


class Description(Schema):
    """A repository at one commit."""

    sha: _Sha1
    siblings: Annotated[tuple[Sibling, ...], Field(max_length=_FILES)] = ()
    safetensors: _Safetensors | None = None


class _Discussion(Schema):
    num: Annotated[int, Field(ge=1)]


class _Discussions(Schema):
    discussions: Annotated[tuple[_Discussion, ...], Field(max_length=_FILES)] = ()


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

    @property
    def pickled_bytes(self) -> int:
        """Size of the pickles in it, which safetensors are made of."""
        return sum(file.size for file in self.files if file.path.endswith(".bin"))


def inspect_repository(
    repo: str, revision: str | None = None, endpoint: str | None = None, model_id: str | None = None
) -> Repository:
    """Ask the Hub, in one request, which files the model needs. Takes at most 15 seconds.

    As long again to look for a conversion where there are only pickles.

    ``endpoint`` is the Hub's address (None: huggingface_hub's own setting), ``model_id`` the name that messages tell
    the user to download by (None: ``repo``). Raises WeightsMissing.
    """
    return inspect_source(source_of(ModelCard(id=model_id or repo, repo=repo), revision, endpoint))[0]


def inspect_source(source: Source, *, with_code: bool = False, with_pickles: bool = False) -> tuple[Repository, Source]:
    """The repository, and from where it may be fetched: without the user's token, if the Hub refuses that.

    ``with_pickles`` takes pickled weights where there are no others.
    """
    with explaining(source):
        try:
            description, source = _describe(source)
            files = tuple(_described(description))
        except HFValidationError:
            raise
        except ValueError as error:
            raise source.unreachable("does not answer as a Hub does") from error
    pickled = pickled_weights(file.path for file in files)
    chosen = select_files(files, with_code=with_code, pickles=pickled if with_pickles else ())
    needed = tuple(sorted(chosen, key=_weights_last))
    if not any(map(is_weights, needed)):
        if pickled and (revision := _converted_revision(source)):
            raise source.no_safetensors(_CONVERTED.format(revision=revision))
        raise source.no_safetensors(other_format(file.path for file in files) or "has no safetensors.")
    if not any(file.path == "config.json" for file in needed):
        told = other_format(file.path for file in needed)
        raise source.no_safetensors(told or "has no config.json, so it is not a transformers model.")
    parameters = description.safetensors.total if description.safetensors else None
    return Repository(repo=source.repo, commit=description.sha, files=needed, parameters=parameters), source


def _describe(source: Source) -> tuple[Description, Source]:
    try:
        return _ask(source), source
    except HfHubHTTPError as error:
        if source.token is None or error.response.status_code != HTTPStatus.UNAUTHORIZED:
            raise
    # an expired token is refused even where none is needed
    anybody = replace(source, token=None)
    try:
        description = _ask(anybody)
    except HfHubHTTPError as error:
        raise source.token_refused() from error
    logger.warning("the Hub at %s refuses the token of HF_TOKEN; %s is fetched without it", source.site, source.repo)
    return description, anybody


def _ask(source: Source, limit: float = _INSPECT_LIMIT) -> Description:
    """Raises ValueError where the answer is not a Hub's."""
    validate_repo_id(source.repo)
    revision = "" if source.revision is None else f"/revision/{quote(source.revision, safe='')}"
    url = f"{source.endpoint}/api/models/{source.repo}{revision}?blobs=true"
    return Description.model_validate_json(read(url, source.token, _ANSWER_TIMEOUT, max(limit, 0)))


def _converted_revision(source: Source) -> str | None:
    """The pull request in which the Hub's bot left safetensors; None if there is none, or the Hub does not say."""
    if source.revision is not None:
        return None
    url = f"{source.endpoint}/api/models/{source.repo}/discussions?type=pull_request&author={_BOT}"
    ends = time.monotonic() + _INSPECT_LIMIT
    try:
        listed = _Discussions.model_validate_json(read(url, source.token, _ANSWER_TIMEOUT, _INSPECT_LIMIT))
        for number in sorted({one.num for one in listed.discussions}, reverse=True)[:_CONVERSIONS]:
            revision = f"refs/pr/{number}"
            described = _ask(replace(source, revision=revision), ends - time.monotonic())
            if any(sibling.rfilename in (WEIGHTS_FILE, WEIGHTS_INDEX) for sibling in described.siblings):
                return revision
    except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError) as error:
        # the refusal does without: a mirror may not know this address
        logger.debug("%s: conversions cannot be listed: %s", source.repo, error)
    return None


def select_files(
    files: Iterable[RemoteFile], *, with_code: bool = False, pickles: Collection[str] = ()
) -> list[RemoteFile]:
    """The files a model is loaded from: configuration, tokenizer, one set of safetensors.

    Python files and ``pickles`` on demand.
    """
    wanted = {*_WANTED, ".py"} if with_code else _WANTED
    readable = [file for file in files if _is_needed(PurePosixPath(file.path), wanted, file.path in pickles)]
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


def _is_needed(path: PurePosixPath, wanted: Set[str], asked: bool) -> bool:
    if "\\" in str(path) or path.name.startswith(".") or _UNWANTED.search(path.name):
        return False
    folders = path.parts[:-1]
    if len(folders) > 1 or not all(_MODULE_FOLDER.match(folder) for folder in folders):
        return False
    return asked or path.suffix == ".safetensors" or path.suffix in wanted


def _described(description: Description) -> Iterator[RemoteFile]:
    """Raises ValueError where the Hub (or what claims to be one) leaves out what a download is checked against."""
    for sibling in description.siblings:
        name, size, blob = sibling.rfilename, sibling.size, sibling.blob_id
        if not is_plain(name) or len(name.encode()) > _NAME_BYTES:
            # nothing that a model needs, and perhaps nothing that a disk takes
            continue
        if size is None or blob is None:
            raise ValueError(f"no size or hash of {name}")
        if size > _SMALL_BYTES and not name.endswith(_LARGE):
            raise ValueError(f"{name} has {size} bytes")
        yield RemoteFile(path=name, size=size, sha256=sibling.lfs.sha256 if sibling.lfs else None, git_sha1=blob)


def source_of(card: ModelCard, revision: str | None, endpoint: str | None, destination: Path | None = None) -> Source:
    """The source of a card's model."""
    endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
    return Source(
        model_id=card.id,
        repo=card.repo or card.id,
        revision=revision,
        endpoint=endpoint,
        token=token_for(endpoint),
        folder=shown(destination) if destination else f"models/{card.basename}",
    )


def is_weights(file: RemoteFile) -> bool:
    """True for a file with weights in it."""
    return file.path.endswith((".safetensors", ".bin"))


def _weights_last(file: RemoteFile) -> tuple[bool, int, str]:
    return is_weights(file), file.size, file.path
