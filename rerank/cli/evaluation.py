"""Options and surroundings that the commands of the evaluation share."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rerank.cli.terminal import CommandFailed
from rerank.errors import RerankError, SettingsError
from rerank.evaluation.collection import Collection
from rerank.evaluation.rankers import Rankers
from rerank.evaluation.scoring import Journal
from rerank.settings import Settings, read_settings
from rerank.telemetry import configure_logging

T = TypeVar("T")

Server = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Ask the models of this running server instead of loading them here."),
]
Key = Annotated[
    str | None,
    typer.Option("--api-key", metavar="KEY", help="Key for --server. Default: the first of RERANK_API_KEY."),
]
Depth = Annotated[int | None, typer.Option(min=1, help="Rank this many candidates of each query. Default: all.")]
Sample = Annotated[int | None, typer.Option(min=1, help="Take this many queries, drawn by --seed. Default: all.")]
Seed = Annotated[int, typer.Option(min=0, help="Of whatever is drawn.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Instruction = Annotated[str | None, typer.Option(help="Task of the models that take one.")]
Chunks = Annotated[
    int | None, typer.Option("--max-chunks-per-doc", min=1, help="The most chunks in which a long document is read.")
]

_File = Path | None
Queries = Annotated[_File, typer.Option(metavar="FILE", help="Queries, in place of DATA's: JSONL, or id tab text.")]
Corpus = Annotated[_File, typer.Option(metavar="FILE", help="Documents, in place of DATA's: like the queries.")]
Qrels = Annotated[_File, typer.Option(metavar="FILE", help="Judgements, in place of DATA's: as in BEIR or TREC.")]
Run = Annotated[
    _File,
    typer.Option(
        metavar="FILE",
        help="The first stage's candidates, in place of DATA's: TREC's six columns, or JSON. Default: BM25.",
    ),
]

INTERRUPTED = 130
"""Exit status."""
STATUSES = """exit status:
  0    done
  1    unexpected error
  2    wrong usage, settings or data
  3    a model cannot be loaded or asked
  130  interrupted; the same command goes on where it was (kept in XDG_CACHE_HOME, by default ~/.cache)"""


def run(work: Callable[[Settings], Coroutine[Any, Any, T]]) -> T:
    """The result of a command's work; its errors as CommandFailed."""
    settings = read_settings()
    configure_logging("warning", settings.log_format)
    try:
        return asyncio.run(work(settings))
    except KeyboardInterrupt:
        raise CommandFailed("interrupted; run the same command again to go on", INTERRUPTED) from None
    except SettingsError as error:
        raise CommandFailed(str(error), 2) from error
    except RerankError as error:
        raise CommandFailed(error.message, 3) from error
    except OSError as error:
        raise CommandFailed(f"{error.strerror or type(error).__name__}: {error.filename or 'the disk'}", 1) from error


def key_of(settings: Settings, given: str | None) -> str | None:
    """The key for a server."""
    return given or next(iter(settings.api_keys), None)


async def distinct(rankers: Rankers, names: Sequence[str]) -> None:
    """Refuse two names of one model. Raises SettingsError."""
    known: dict[str, str] = {}
    for name in names:
        if first := known.get(identity := await rankers.identity(name)):
            raise SettingsError(f"{first} and {name} are the same model")
        known[identity] = name


@contextmanager
def journal_of(command: str, collection: Collection, *facts: object) -> Iterator[Journal]:
    """The journal of a command for this data: kept until it is done, so that an interrupted one goes on.

    ``facts``: everything else that the answers depend on.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    known = json.dumps([command, collection.digest(), facts], default=str)
    name = hashlib.blake2b(known.encode(), digest_size=12).hexdigest()
    journal = Journal(cache / "rerank-gateway" / "journals" / f"{name}.jsonl")
    done = False
    try:
        yield journal
        done = True
    finally:
        journal.close(done=done)


@contextmanager
def progress_bar(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where that is a terminal; told of each number of steps that are done."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def advance(steps: int) -> None:
            bar.advance(task, steps)

        yield advance
