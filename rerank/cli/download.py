"""``rerank-download``: fetch models from the Hub into the models folder, by name or from a menu."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from huggingface_hub.errors import HFValidationError

from rerank.catalog.cards import BUILT_IN, EMBEDDED_MODEL_ID, ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import is_started, read_checkpoint
from rerank.catalog.hub import fetch
from rerank.catalog.manifest import read_manifest
from rerank.catalog.repository import inspect_repository
from rerank.cli.download_table import show_models
from rerank.cli.terminal import escape_what_cannot_be_shown
from rerank.errors import FetchFailure, RerankError, SettingsError, WeightsBroken, WeightsMissing
from rerank.settings import Settings, read_settings
from rerank.units import expand_home, human_size
from rerank_client import printable

_PROMPT = "numbers or names, separated by spaces or commas; empty to quit: "


class Exit(IntEnum):
    """What the exit status says."""

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

_EPILOG = """\
examples:
  python download_model.py                                 choose from a menu
  python download_model.py BAAI/bge-reranker-v2-m3         one of the known models
  python download_model.py organisation/name               any repository of the Hub
  python download_model.py --all --endpoint https://hf-mirror.com

An interrupted download resumes when the same command is run again.

exit status:
  0    everything asked for is there
  1    something unexpected
  2    wrong usage, or a name that nothing answers to
  3    not on the Hub, or there without safetensors
  4    no access: private, or its licence not accepted (set HF_TOKEN)
  5    the Hub cannot be reached
  6    the disk is full or cannot be written
  7    a corrupt file, or a broken model on disk that only --force replaces
  130  interrupted
With several models the rest is still fetched after a failure; the status is that of the first.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status. Wrong arguments leave by SystemExit(2), as argparse does."""
    escape_what_cannot_be_shown()
    try:
        parser = _parser(read_settings())
        return _run(parser, parser.parse_args(argv))
    except KeyboardInterrupt:
        _complain("interrupted; run the same command again to resume")
        return Exit.INTERRUPTED
    except (SettingsError, HFValidationError) as error:
        _complain(str(error))
        return Exit.USAGE
    except OSError as error:
        _complain(f"{error.strerror or type(error).__name__}: {error.filename or 'the models folder'}")
        return Exit.UNEXPECTED


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rerank-download",
        description="Fetch rerank models from the Hugging Face Hub. Without names, choose from a menu.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="name", help="id, alias or folder name, or organisation/name")
    parser.add_argument("--all", action="store_true", help="every model the server knows by itself")
    parser.add_argument("--list", action="store_true", help="show the known models and what is on disk, then stop")
    parser.add_argument(
        "--dir",
        type=_path,
        default=settings.models_dir,
        help="models folder (RERANK_MODELS_DIR, or ./models)",
    )
    parser.add_argument(
        "--models-file",
        type=_path,
        default=settings.models_file,
        help="more models (RERANK_MODELS_FILE, or ./models.toml)",
    )
    parser.add_argument("--revision", help="branch, tag or commit; goes with one model")
    parser.add_argument(
        "--endpoint",
        default=settings.hf_endpoint,
        help="address of the Hub or of a mirror (HF_ENDPOINT, or https://huggingface.co)",
    )
    parser.add_argument("--force", action="store_true", help="fetch again, and replace what is there")
    parser.set_defaults(min_free=settings.min_free_bytes)
    parser.add_argument("--quiet", action="store_true", help="no progress, only results and errors")
    return parser


def _path(text: str) -> Path:
    """A shell leaves `~` as it is in `--dir=~/models`."""
    try:
        return expand_home(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _run(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    catalog = Catalog.open(arguments.dir, arguments.models_file)
    if arguments.list:
        show_models(catalog, numbered=False)
        return Exit.DONE
    if arguments.names or arguments.all:
        cards = _chosen(catalog, arguments.names, every=arguments.all)
    elif sys.stdin.isatty() and sys.stdout.isatty():
        cards = _menu(catalog)
    else:
        parser.error("give the names of models, or --all, or --list (there is no terminal to show the menu on)")
    if arguments.revision and len(cards) > 1:
        parser.error("--revision goes with one model")
    results = [_provide(card, catalog, arguments) for card in cards]
    return next((result for result in results if result), Exit.DONE)


def _chosen(catalog: Catalog, names: Sequence[str], *, every: bool = False) -> list[ModelCard]:
    """Each model once, in the order given. Raises SettingsError for a name that nothing answers to."""
    cards = [catalog.operator_choice(name) for name in names]
    if every:
        known = {card.id for card in BUILT_IN}
        cards += [card for card in catalog.cards() if card.repo and card.id in known]
    return list({card.id: card for card in cards}.values())


def _menu(catalog: Catalog) -> list[ModelCard]:
    """What the user picked; nothing if the answer is empty or the input ends."""
    cards = catalog.cards()
    show_models(catalog, numbered=True)
    while True:
        try:
            words = [word for word in re.split(r"[\s,，、]+", input(_PROMPT)) if word]
        except EOFError:
            print()
            return []
        try:
            return _chosen(catalog, [_by_number(word, cards) for word in words])
        except SettingsError as error:
            _complain(str(error))


def _by_number(word: str, cards: Sequence[ModelCard]) -> str:
    if not word.isdecimal():
        return word
    if not 1 <= int(word) <= len(cards):
        raise SettingsError(f"there is no number {word}; the menu goes from 1 to {len(cards)}")
    return cards[int(word) - 1].id


def _provide(card: ModelCard, catalog: Catalog, arguments: argparse.Namespace) -> Exit:
    """Bring one model to the disk, or say why not."""
    try:
        _fetch_unless_there(card, catalog, arguments)
    except WeightsMissing as error:
        _complain(error.message)
        return _EXIT_OF[error.failure]
    except WeightsBroken as error:
        _complain(f"{card.id}: {error.message}")
        return Exit.CORRUPT
    except RerankError as error:
        _complain(error.message)
        return Exit.UNEXPECTED
    except OSError as error:
        _complain(f"{card.id}: {error.strerror or type(error).__name__}: {error.filename or 'the models folder'}")
        return Exit.UNEXPECTED
    return Exit.DONE


def _fetch_unless_there(card: ModelCard, catalog: Catalog, arguments: argparse.Namespace) -> None:
    """Raises RerankError and OSError."""
    if card.id == EMBEDDED_MODEL_ID and card.repo is None:
        print(f"{card.id}: comes with the server, there is nothing to download")
        return
    destination = catalog.own_folder(card)
    there = is_started(destination)
    if there and not arguments.force and not _is_other_revision(card, destination, arguments):
        size = human_size(_checked_size(destination))
        print(f"{card.id}: already on disk, {size} in {destination}")
        return
    if card.repo is None:
        raise RerankError(f"{card.id} is a folder of yours without a Hub repository; name one as organisation/name")
    if not there and not arguments.force and catalog.is_local(card):
        print(f"{card.id}: already on disk, in the Hugging Face cache (--force also puts it in {catalog.models_dir})")
        return
    with _progress(card, arguments) as progress:
        fetch(
            card,
            destination,
            revision=arguments.revision,
            endpoint=arguments.endpoint,
            progress=progress,
            replace=there,
            min_free=arguments.min_free,
        )
    print(f"{card.id}: {human_size(_size(destination))} in {destination}")


def _checked_size(folder: Path) -> int:
    """Bytes of a folder that holds a whole model. Raises WeightsBroken saying how to replace it."""
    try:
        read_checkpoint(folder)
    except WeightsBroken as error:
        raise WeightsBroken(f"{error.message}; add --force to fetch it again and replace what is there") from error
    return _size(folder)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _is_other_revision(card: ModelCard, folder: Path, arguments: argparse.Namespace) -> bool:
    """True if a revision was asked for, here or by the card, and the folder holds another. Raises RerankError."""
    manifest = read_manifest(folder)
    if card.repo is None or arguments.revision is None:
        return bool(card.revision and manifest and not manifest.is_of(card.revision))
    if manifest is None:
        raise RerankError(f"{folder} was not fetched by this command, so its revision is unknown; --force replaces it")
    if manifest.commit == arguments.revision:
        return False
    return inspect_repository(card.repo, arguments.revision, arguments.endpoint, card.id).commit != manifest.commit


@contextmanager
def _progress(card: ModelCard, arguments: argparse.Namespace) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on a terminal, one line on anything else, nothing if quiet. Always on stderr."""
    if arguments.quiet:
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


def _complain(message: str) -> None:
    print(f"rerank-download: {printable(message)}", file=sys.stderr)
