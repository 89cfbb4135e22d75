"""`rerank rank IN --model NAME --output OUT`: rank a file of any length."""

from __future__ import annotations

import math
import os
import stat
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import typer

from rerank.cli import evaluation
from rerank.cli.evaluation import Chunks, Instruction, Key, Server
from rerank.cli.terminal import CommandFailed, complain, verbatim
from rerank.errors import SettingsError
from rerank.evaluation.bulk.csv_pairs import CsvPairs
from rerank.evaluation.bulk.items import Choices, Done, Format, Item, Outcome, left
from rerank.evaluation.bulk.jsonl import Jsonl
from rerank.evaluation.bulk.output import STREAM, Output, check_output, name_of, opened, part_of
from rerank.evaluation.bulk.running import Tally, rank_items
from rerank.evaluation.bulk.trec import TrecRun
from rerank.evaluation.rankers import Asked, Rankers, open_rankers
from rerank.evaluation.reading.lines import lines_in
from rerank.evaluation.reading.lists import LIST_FORMATS
from rerank.evaluation.reading.text_store import TextStore
from rerank.evaluation.reading.texts import texts_of
from rerank.settings import Settings

_EPILOG = """
examples:
  rerank rank questions.jsonl --model bge-reranker-v2-m3 --output ranked.jsonl
  rerank rank pairs.csv --model bge-reranker-base --output ranked.csv --top-n 10
  rerank rank bm25.run --queries queries.jsonl --corpus corpus.jsonl --model cosine --output reranked.run
  zcat questions.jsonl.gz | rerank rank - --model gte-rerank --server http://gpu-1:8000 | gzip > ranked.jsonl.gz

Formats, of input and output, by the input's suffix or --format:
  jsonl  {"query": ..., "documents": [...]} per line, perhaps top_n and instruction; its other fields are kept, and
         model, results and usage are added, or error
  csv    columns query and document, a row per pair; rows of one query follow each other. relevance_score, rank and
         error are added
  trec   a run of six columns, with --queries and --corpus: JSONL as in BEIR, or id tab text. A query that failed is not
         in the output

The output grows as OUT.<run>.part and is renamed when it is whole. The same command goes on after the last whole line
of it (in csv and trec: after the last query but one); another model or option begins another part.

exit status:
  0    every line is answered
  1    a line has an error instead, or the output cannot be written
  2    wrong usage, settings or data
  3    the model cannot be loaded or asked; the same command goes on
  130  interrupted; the same command goes on
  141  the output was closed, as by head
"""
_SUFFIXES = {**LIST_FORMATS, ".run": "trec", ".trec": "trec", ".txt": "trec"}
_CLOSED = 141

app = typer.Typer(rich_markup_mode=None, add_completion=False)
Name = Literal["jsonl", "csv", "trec"]


@dataclass(frozen=True, slots=True)
class _Job:
    """The command's arguments."""

    source: str
    target: str
    format: str
    choices: Choices
    queries: Path | None
    corpus: Path | None
    server: str | None
    key: str | None
    in_flight: int
    force: bool

    @property
    def run(self) -> str:
        """A name for runs that an interrupted output may be of."""
        source = self.source if self.source == STREAM else os.path.abspath(self.source)  # noqa: PTH100
        return name_of(source, self.format, self.choices, self.server, self.queries, self.corpus)


@app.command(epilog=verbatim(_EPILOG))
def rank(
    source: Annotated[str, typer.Argument(metavar="IN", help="File to rank; - is the standard input.")],
    model: Annotated[str, typer.Option(metavar="NAME", help="Name of the model, as in a request.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="OUT", help="File to write; - is the standard output.")
    ] = STREAM,
    form: Annotated[Name | None, typer.Option("--format", help="Default: by the suffix of IN; jsonl for -.")] = None,
    queries: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts of the queries of a TREC run.")] = None,
    corpus: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts of its documents.")] = None,
    top_n: Annotated[int | None, typer.Option(min=1, help="Documents to keep per query. Default: all.")] = None,
    instruction: Instruction = None,
    chunks: Chunks = None,
    documents_too: Annotated[
        bool, typer.Option("--return-documents", help="Write the documents into the results (jsonl).")
    ] = False,
    server: Server = None,
    key: Key = None,
    in_flight: Annotated[int, typer.Option(min=1, max=1024, help="Requests at once.")] = 16,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT, and start over.")] = False,
) -> None:
    """Rank files of any length without a server, or with a running one. Lines stay in order; memory stays the same."""
    choices = Choices(model, top_n, Asked(instruction, chunks), documents_too=documents_too)
    format_name = form or _format_of(source)
    if {queries is not None, corpus is not None} != {format_name == "trec"}:
        raise CommandFailed("--queries and --corpus belong to a TREC run, and it needs both", 2)
    job = _Job(source, output, format_name, choices, queries, corpus, server, key, in_flight, force)
    try:
        tally = evaluation.run(lambda settings: _unless_closed(_rank(job, settings)))
    except CommandFailed as error:
        raise CommandFailed(_with_what_is_kept(job, error), error.status) from error
    if tally is None:
        raise typer.Exit(_CLOSED)
    _report(tally)
    raise typer.Exit(1 if tally.errors else 0)


def _format_of(source: str) -> str:
    found = "jsonl" if source == STREAM else _SUFFIXES.get(Path(source).suffix.lower())
    if found is None:
        raise CommandFailed(f"{source}: its suffix tells no format; give --format", 2)
    return found


async def _unless_closed(work: Coroutine[Any, Any, Tally]) -> Tally | None:
    """None if the output was closed."""
    try:
        return await work
    except BrokenPipeError:
        return None


async def _rank(job: _Job, settings: Settings) -> Tally:
    check_output(job.target, force=job.force)
    key = evaluation.key_of(settings, job.key)
    with _source(job.source) as source, ExitStack() as stack:
        async with open_rankers(settings, job.server, key) as rankers:
            model = await rankers.identity(job.choices.model)
            # loaded now, so that its load is no part of the speed, and nothing is begun if it fails
            await rankers.version(job.choices.model)
            form = _format(job, replace(job.choices, model=model, most_documents=settings.max_documents), stack)
            output = stack.enter_context(opened(job.target, job.run, form.done, force=job.force))
            if output.done.offset:
                complain(f"going on after {_count(output.done)} of {part_of(Path(job.target), job.run)}")
            items = left(form.items(lines_in(source, Path(job.source))), output.done)
            return await _run(job, rankers, items, _Writer(form, output), stack.enter_context(_progress(source)))


async def _run(
    job: _Job, rankers: Rankers, items: Iterator[Item], writer: _Writer, progress: Callable[[int], None]
) -> Tally:
    def write(item: Item, outcome: Outcome) -> None:
        writer.write(item, outcome)
        progress(len(item.documents))

    tally = await rank_items(rankers, job.choices.model, items, write, job.in_flight)
    writer.end()
    return tally


class _Writer:
    """Items in a format to an output, after its head."""

    def __init__(self, form: Format, output: Output) -> None:
        self._form = form
        self._output = output
        self._begun = output.done.offset > 0

    def write(self, item: Item, outcome: Outcome) -> None:
        """Write an item; an error that the format has no room for is printed."""
        text = self._form.rendered(item, outcome)
        if isinstance(outcome, str) and not text:
            complain(outcome)
        self._output.write(text if self._begun else f"{self._form.head}{text}")
        self._begun = True

    def end(self) -> None:
        """Write the head if there was no item."""
        if not self._begun:
            self._output.write(self._form.head)


def _format(job: _Job, choices: Choices, stack: ExitStack) -> Format:
    if job.format == "jsonl":
        return Jsonl(choices)
    if job.format == "csv" or job.queries is None or job.corpus is None:
        return CsvPairs(choices)
    queries, documents = (
        stack.enter_context(TextStore()).add(texts_of(path)).get for path in (job.queries, job.corpus)
    )
    return TrecRun(choices, queries, documents)


@contextmanager
def _source(path: str) -> Iterator[IO[bytes]]:
    """The input, which may be a pipe. Raises SettingsError."""
    try:
        # not sys.stdin, which the process would wait for at its end
        source = open(0, "rb", closefd=False) if path == STREAM else Path(path).open("rb")  # noqa: SIM115
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        yield source
    finally:
        # closing would wait for a thread that still reads a pipe
        if _size(source) is not None:
            source.close()


def _size(source: IO[bytes]) -> int | None:
    """Bytes of a regular file."""
    status = os.fstat(source.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else None


@contextmanager
def _progress(source: IO[bytes]) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, along the input as far as its length is known."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    size = _size(source)
    columns = (
        BarColumn(),
        TextColumn("{task.fields[pairs]:,} pairs, {task.fields[rate]:.1f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=size, pairs=0, rate=0.0)
        pairs, began = 0, time.perf_counter()

        def advance(more: int) -> None:
            nonlocal pairs
            pairs += more
            rate = pairs / (time.perf_counter() - began)
            bar.update(task, completed=0 if size is None else source.tell(), pairs=pairs, rate=rate)

        yield advance


def _count(done: Done) -> str:
    return "what is done" if done.items is None else f"{done.items:,} queries"


def _with_what_is_kept(job: _Job, error: CommandFailed) -> str:
    """The error, and where the command goes on if it can."""
    if job.target == STREAM:
        return "interrupted" if error.status == evaluation.INTERRUPTED else str(error)
    part = part_of(Path(job.target), job.run)
    return f"{error}; {part} has what is done" if part.exists() else str(error)


def _report(tally: Tally) -> None:
    """The throughput, and the first error."""
    seconds = tally.seconds or math.inf
    speed = f"{tally.pairs / seconds:,.1f} pairs/s, {tally.tokens / seconds:,.0f} tokens/s"
    print(f"{tally.items:,} queries, {tally.pairs:,} pairs in {tally.seconds:.1f} s: {speed}", file=sys.stderr)
    if tally.errors:
        complain(f"{tally.errors:,} of {tally.items:,} queries have an error; the first: {tally.first_error}")
