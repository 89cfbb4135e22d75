"""`rerank pull`: download models from the Hub into the models folder, by name or from a menu."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub.errors import HFValidationError

from rerank.catalog.built_in import EMBEDDED_MODEL_ID
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import is_started, read_checkpoint
from rerank.catalog.hub import convert_in_place, fetch
from rerank.catalog.manifest import read_manifest
from rerank.catalog.pickles import pickles_in
from rerank.catalog.repository import inspect_repository
from rerank.cli.models import asked, named_licence, show_models
from rerank.cli.terminal import CommandFailed, complain, verbatim
from rerank.errors import FetchFailure, ModelUnsupported, RerankError, WeightsBroken, WeightsMissing
from rerank.settings import read_settings
from rerank.settings.values import hub_address
from rerank.units import expand_home, human_size

_EPILOG = """
examples:
  rerank pull                                 choose from a menu
  rerank pull BAAI/bge-reranker-v2-m3         one of the known models
  rerank pull organisation/name               any repository of the Hub
  rerank pull --all --endpoint https://hf-mirror.com
  rerank pull --convert organisation/name     make safetensors of a repository's pickles

exit status:
  0    all models are on disk
  1    unexpected error
  2    wrong usage, or an unknown name
  3    not on the Hub, or without safetensors
  4    no access: private, or its licence not accepted (set HF_TOKEN)
  5    the Hub is unreachable
  6    the disk is full or cannot be written
  7    a corrupt file, or a broken model on disk that only --force replaces
  130  interrupted
After a failure the remaining models are still downloaded; the status is that of the first failure.
"""


class Exit(IntEnum):
    """Exit status of the command."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    NOT_FOUND = 3
    NO_ACCESS = 4
    UNREACHABLE = 5
    DISK_FULL = 6
    CORRUPT = 7
    INTERRUPTED = 130


_EXIT_OF = {
    FetchFailure.UNREACHABLE: Exit.UNREACHABLE,
    FetchFailure.NOT_FOUND: Exit.NOT_FOUND,
    FetchFailure.NO_ACCESS: Exit.NO_ACCESS,
    FetchFailure.NO_SAFETENSORS: Exit.NOT_FOUND,
    FetchFailure.DISK_FULL: Exit.DISK_FULL,
    FetchFailure.CORRUPT: Exit.CORRUPT,
}


@dataclass(frozen=True, slots=True)
class _Options:
    """How models are downloaded."""

    revision: str | None
    endpoint: str | None
    force: bool
    quiet: bool
    min_free: int
    convert: bool


def _path(text: str | None) -> Path | None:
    """A path of the command line. The shell leaves `~` in `--dir=~/models`."""
    try:
        return expand_home(Path(text)) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _address(text: str | None) -> str | None:
    """The address of a Hub, of the command line."""
    try:
        return hub_address(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--endpoint") from None


_Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME]...", help="Id, alias, folder name, or organisation/name.")
]
_All = Annotated[bool, typer.Option("--all", help="Download all built-in models.")]
_List = Annotated[bool, typer.Option("--list", help="Show the known models and exit, as `rerank models`.")]
_Folder = Annotated[
    str | None, typer.Option("--dir", metavar="PATH", help="Models folder. Default: RERANK_MODELS_DIR, or ./models.")
]
_ModelsFile = Annotated[
    str | None, typer.Option(metavar="PATH", help="File with cards. Default: RERANK_MODELS_FILE, or ./models.toml.")
]
_Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit, for one model.")]
_Endpoint = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Address of the Hub or a mirror. Default: HF_ENDPOINT, or huggingface.co."),
]
_Force = Annotated[bool, typer.Option("--force", help="Download again and replace what is on disk.")]
_Convert = Annotated[
    bool,
    typer.Option("--convert", help="Fetch pickled weights where there are no others, and convert them to safetensors."),
]
_Quiet = Annotated[bool, typer.Option("--quiet", help="Print no progress, only results and errors.")]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=verbatim(_EPILOG))
def pull(
    ctx: typer.Context,
    names: _Names = None,
    every: _All = False,
    only_list: _List = False,
    folder: _Folder = None,
    models_file: _ModelsFile = None,
    revision: _Revision = None,
    endpoint: _Endpoint = None,
    force: _Force = False,
    convert: _Convert = False,
    quiet: _Quiet = False,
) -> None:
    """Download models from the Hugging Face Hub. Without names, choose from a menu.

    An interrupted download resumes when the same command is run again.
    """
    with _failures_named():
        settings = read_settings()
        catalog = Catalog.open(_path(folder) or settings.models_dir, _path(models_file) or settings.models_file)
        if only_list:
            show_models(catalog, catalog.cards())
            return
        cards = asked(ctx, catalog, names or (), every=every)
        if revision and len(cards) > 1:
            ctx.fail("--revision is for one model")
        hub = _address(endpoint) or settings.hf_endpoint
        options = _Options(revision, hub, force, quiet, settings.min_free_bytes, convert)
        results = [_provide(card, catalog, options) for card in cards]
    raise typer.Exit(next((result for result in results if result), Exit.DONE))


@contextmanager
def _failures_named() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise CommandFailed("interrupted; run the same command again to resume", Exit.INTERRUPTED) from None
    except HFValidationError as error:
        raise CommandFailed(str(error), Exit.USAGE) from error
    except OSError as error:
        raise CommandFailed(_of_disk(error), Exit.UNEXPECTED) from error


def _of_disk(error: OSError) -> str:
    return f"{error.strerror or type(error).__name__}: {error.filename or 'the models folder'}"


def _provide(card: ModelCard, catalog: Catalog, options: _Options) -> Exit:
    """Download one model unless it is on disk; errors are printed."""
    try:
        _fetch_unless_there(card, catalog, options)
    except WeightsMissing as error:
        complain(error.message)
        return _EXIT_OF[error.failure]
    except WeightsBroken as error:
        complain(f"{card.id}: {error.message}")
        return Exit.CORRUPT
    except RerankError as error:
        complain(error.message)
        return Exit.UNEXPECTED
    except OSError as error:
        complain(f"{card.id}: {_of_disk(error)}")
        return Exit.UNEXPECTED
    return Exit.DONE


def _fetch_unless_there(card: ModelCard, catalog: Catalog, options: _Options) -> None:
    """Raises RerankError and OSError."""
    if card.id == EMBEDDED_MODEL_ID and card.repo is None:
        print(f"{card.id}: bundled with the server, nothing to download")
        return
    if not card.has_weights:
        raise RerankError(f"{card.id} has no weights to download; name the models it is made of, if any")
    destination = catalog.own_folder(card)
    there = is_started(destination)
    if there and options.convert and not options.force and pickles_in(destination):
        _convert_there(card, destination)
    if there and not options.force and not _is_other_revision(card, destination, options):
        size = human_size(_checked_size(destination, card))
        print(f"{card.id}: already on disk, {size} in {destination}")
        return
    if card.repo is None:
        raise RerankError(f"{card.id} is a local folder without a Hub repository; name one as organisation/name")
    if not there and not options.force and catalog.is_local(card):
        print(f"{card.id}: already on disk, in the Hugging Face cache (--force also puts it in {catalog.models_dir})")
        return
    if card.about:
        print(f"{card.id}: licence {named_licence(card.about)}")
    with _progress(card, options) as progress:
        fetch(
            card,
            destination,
            revision=options.revision,
            endpoint=options.endpoint,
            progress=progress,
            replace=there or options.force,
            min_free=options.min_free,
            convert=_convert if options.convert else None,
        )
    print(f"{card.id}: {human_size(_size(destination))} in {destination}")


def _convert(folder: Path) -> tuple[Path, ...]:
    # importing torch takes seconds
    from rerank.scorers.pickles import convert_pickles

    pickles = convert_pickles(folder)
    print(f"converted to safetensors: {', '.join(file.name for file in pickles)}")
    return pickles


def _convert_there(card: ModelCard, folder: Path) -> None:
    pickles = convert_in_place(card, folder, _convert)
    print(f"{card.id}: {', '.join(map(str, pickles))} is no longer needed and can be deleted")


def _checked_size(folder: Path, card: ModelCard) -> int:
    """Bytes of a folder with a whole model. Raises WeightsBroken saying how to replace it."""
    try:
        read_checkpoint(folder, card)
    except ModelUnsupported:
        raise
    except WeightsBroken as error:
        raise WeightsBroken(f"{error.message}; add --force to download it again and replace what is there") from error
    return _size(folder)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _is_other_revision(card: ModelCard, folder: Path, options: _Options) -> bool:
    """True if a revision was asked for, here or by the card, and the folder holds another. Raises RerankError."""
    manifest = read_manifest(folder)
    if card.repo is None or options.revision is None:
        return bool(card.revision and manifest and not manifest.is_of(card.revision))
    if manifest is None:
        raise RerankError(
            f"{folder} was not downloaded by this command, so its revision is unknown; --force replaces it"
        )
    if manifest.commit == options.revision:
        return False
    return inspect_repository(card.repo, options.revision, options.endpoint, card.id).commit != manifest.commit


@contextmanager
def _progress(card: ModelCard, options: _Options) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, one line on anything else, nothing if quiet. Always on stderr."""
    if options.quiet:
        yield None
        return
    if not sys.stderr.isatty():
        print(f"{card.id}: fetching", file=sys.stderr, flush=True)
        yield None
        return
    # rich is slow to import, and most runs do not draw
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(card.id, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
