"""`rerank compare MODEL REFERENCE --on DATA`: is the one as the other?"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from rerank.cli import evaluation as shared
from rerank.cli.terminal import CommandFailed, complain, verbatim, wide_console
from rerank.evaluation.agreement import Ordered, QueryAgreement
from rerank.evaluation.collection import Collection
from rerank.evaluation.comparison import Comparison, compare_vectors, texts_of
from rerank.evaluation.needs import needed
from rerank.evaluation.plots import FORMATS, scatter
from rerank.evaluation.rankers import Asked, Embedders, open_rankers
from rerank.evaluation.reading.reader import read_collection
from rerank.evaluation.reading.wanted import Files, Wanted
from rerank.evaluation.scoring import Journal, Scored, score_collection
from rerank.settings import Settings
from rerank_client import cut_to_width, printable

_EPILOG = """
examples:
  rerank compare my-model BAAI/bge-reranker-v2-m3 --on my-queries.jsonl --sample 200 --plot scores.svg
  rerank compare qwen3-reranker siliconflow-reranker --on beir/scifact --at-least 0.99
  rerank compare cosine cosine --on beir/scifact --reference-server http://gpu-1:8000 --measure cosine --at-least 0.999

measures, from -1 or 0 to 1:
  consistency   the mean of pearson and spearman
  pearson       correlation of all scores; mean-pearson: of each query's, the mean over queries
  spearman      rank similarity, the mean over queries
  kendall       tau-b, the mean over queries
  top-1         queries with the same first document; top-3, top-10: share of the first documents that both sides have
  cosine        mean cosine between both sides' vectors, of embedding models

A query whose documents only one side tells apart counts as 0. DATA is as in `rerank evaluate`; it needs no judgements.

exit status:
  0    done, and the measure is not less than --at-least
  1    the measure is less than --at-least, or undefined; or an unexpected error
  2    wrong usage, settings or data
  3    a model cannot be loaded or asked
  130  interrupted; the same command goes on where it was
"""
_QUERY_COLUMNS = 60
_PROBE = "query", ["document"]
_ROUNDING = 1e-9
"""What a sum of rounded numbers may lack."""
_HEADINGS = ("consistency", "Pearson", "Spearman", "first 10", "difference", "document")
_UNDEFINED = "-"
_NOT_TOLD_APART: dict[Ordered, str] = {
    "model": "only {0} tells the documents apart; each counts as 0",
    "reference": "only {1} tells the documents apart; each counts as 0",
    "neither": "neither side tells the documents apart; not counted",
    "one document": "there is one document; not counted",
}

app = typer.Typer(rich_markup_mode=None, add_completion=False)
Measure = Literal["consistency", "pearson", "mean-pearson", "spearman", "kendall", "top-1", "top-3", "top-10", "cosine"]


@app.command(epilog=verbatim(_EPILOG))
def compare(
    model: Annotated[str, typer.Argument(help="Name, as in a request.")],
    reference: Annotated[str, typer.Argument(help="Name of the model that it should be like.")],
    on: Annotated[Path, typer.Option(metavar="DATA", help="Folder or file with queries and documents.")],
    at_least: Annotated[
        float | None, typer.Option(min=0, max=1, help="End with status 1 if the measure is less. Default: never.")
    ] = None,
    measure: Annotated[Measure, typer.Option(help="What --at-least is about.")] = "consistency",
    worst: Annotated[int, typer.Option(min=0, help="Queries to list, those with the least consistency.")] = 5,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw all scores of both sides: .svg or .png.")
    ] = None,
    queries: shared.Queries = None,
    corpus: shared.Corpus = None,
    run: shared.Run = None,
    depth: shared.Depth = None,
    sample: shared.Sample = None,
    seed: shared.Seed = 0,
    server: shared.Server = None,
    api_key: shared.Key = None,
    reference_server: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Ask REFERENCE at this running server instead; MODEL may have its name."),
    ] = None,
    reference_key: Annotated[
        str | None,
        typer.Option(
            "--reference-api-key",
            metavar="KEY",
            help="Key for --reference-server. Default: the first of RERANK_API_KEY.",
        ),
    ] = None,
    instruction: shared.Instruction = None,
    max_chunks_per_doc: shared.Chunks = None,
    as_json: shared.AsJson = False,
) -> None:
    """Compare a model's scores and rankings with those of a reference, on the user's own data.

    Says how far both correlate, how many of the first documents they share, and where they differ most.
    """
    _check_plot(plot)
    ours = _Side(model, server, api_key)
    # a key is sent to no other server than the one it is for
    theirs = _Side(reference, reference_server or server, reference_key if reference_server else api_key)
    asked = Asked(instruction, max_chunks_per_doc)

    async def work(settings: Settings) -> Comparison:
        collection = read_collection(on, Files(queries, corpus, None, run), Wanted(depth, sample, seed))
        async with _opened(settings, ours, theirs) as sides:
            return await _compare(*sides, collection, asked)

    compared = shared.run(work)
    names = ours.shown(theirs), theirs.shown(ours)
    if as_json:
        print(json.dumps(_as_json(compared, ours, theirs, seed), ensure_ascii=False, indent=2, allow_nan=False))
    else:
        _show(compared, names, worst)
    if plot:
        _draw(compared, names, plot)
    if at_least is not None and not _suffices(compared.value(measure), measure, at_least):
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class _Side:
    """A model, and the server that has it; None for this machine."""

    name: str
    server: str | None
    key: str | None

    def shown(self, other: _Side) -> str:
        """Its name, with its place if the other side has the same name."""
        return printable(f"{self.name} at {self.server or 'this machine'}" if self.name == other.name else self.name)


@dataclass(frozen=True, slots=True)
class _Opened:
    side: _Side
    rankers: Embedders


def _check_plot(plot: Path | None) -> None:
    """Before anything is scored. Raises CommandFailed and SettingsError."""
    if plot is None:
        return
    if plot.suffix not in FORMATS:
        raise CommandFailed(f"--plot: the file's name must end in {' or '.join(FORMATS)}", 2)
    if not plot.parent.is_dir():
        raise CommandFailed(f"--plot: there is no folder {plot.parent}", 2)
    needed("matplotlib")


@asynccontextmanager
async def _opened(settings: Settings, model: _Side, reference: _Side) -> AsyncIterator[tuple[_Opened, _Opened]]:
    """Both sides, which share what they can. Raises SettingsError if they are one model."""
    async with open_rankers(settings, model.server, shared.key_of(settings, model.key)) as ours:
        if reference.server == model.server:
            await shared.distinct(ours, (model.name, reference.name))
            yield _Opened(model, ours), _Opened(reference, ours)
            return
        key = shared.key_of(settings, reference.key)
        async with open_rankers(settings, reference.server, key, "--reference-server") as theirs:
            yield _Opened(model, ours), _Opened(reference, theirs)


async def _compare(ours: _Opened, theirs: _Opened, collection: Collection, asked: Asked) -> Comparison:
    for opened in (ours, theirs):
        # or an unknown reference would be noticed after hours of scoring
        await opened.rankers.ask(opened.side.name, *_PROBE)
    # a journal for each side: both may have a model of the same name
    facts = "compare", collection, asked
    with (
        shared.journal_of(*facts, "model", ours.side.name, ours.side.server) as first,
        shared.journal_of(*facts, "reference", theirs.side.name, theirs.side.server) as second,
    ):
        model = await _score(ours, collection, asked, first)
        reference = await _score(theirs, collection, asked, second)
        texts = texts_of(collection)
        with shared.progress_bar("vectors", len(texts)) as progress:
            sides = (ours.rankers, ours.side.name), (theirs.rankers, theirs.side.name)
            vectors = await compare_vectors(*sides, texts, progress)
        return Comparison.of(collection, model, reference, vectors)


async def _score(opened: _Opened, collection: Collection, asked: Asked, journal: Journal) -> Scored:
    name = opened.side.name
    with shared.progress_bar(printable(name), collection.pairs) as progress:
        return await score_collection(opened.rankers, name, collection, asked=asked, journal=journal, progress=progress)


def _suffices(value: float | None, measure: str, at_least: float) -> bool:
    if value is not None and value >= at_least - _ROUNDING:
        return True
    shown = "undefined" if value is None else f"{value:.4f}, which is less than {at_least:g}"
    complain(f"{measure} is {shown}")
    return False


def _draw(compared: Comparison, names: tuple[str, str], file: Path) -> None:
    correlation = _number(compared.agreement.measures.pearson)
    title = f"{compared.collection.name}: {compared.agreement.pairs} pairs, Pearson {correlation}"
    try:
        scatter(*compared.scores(), names, printable(title), file)
    except OSError as error:
        raise CommandFailed(f"--plot: {error.strerror or type(error).__name__}: {file}", 1) from error


def _show(compared: Comparison, names: tuple[str, str], worst: int) -> None:
    console = wide_console()
    collection = compared.collection
    size = f"{len(collection.candidates)} queries, {compared.agreement.pairs} pairs"
    console.print(Text(f"{names[0]} against {names[1]} on {printable(collection.name)}: {size}\n"))
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in _rows(compared):
        # as text: brackets in a name are no markup
        table.add_row(*map(Text, row))
    console.print(table)
    for line in _notes(compared, names):
        console.print(Text(line))
    if worst:
        console.print(Text("\nleast consistent queries, their largest difference, and the document that has it:"))
        console.print(_worst(compared, worst))
    console.print(Text(f"\n{_verdict(compared)}"))


def _rows(compared: Comparison) -> Iterator[tuple[str, str, str]]:
    agreement, measures = compared.agreement, compared.agreement.measures
    yield "consistency", _number(measures.consistency), "mean of score correlation and rank similarity"
    yield "score correlation", _number(measures.pearson), "Pearson, all pairs"
    yield "", _number(agreement.mean_pearson), "Pearson, mean over queries"
    yield "rank similarity", _number(measures.spearman), "Spearman, mean over queries"
    yield "", _number(measures.kendall), "Kendall's tau-b, mean over queries"
    for depth, share in ((1, measures.top_1), (3, measures.top_3), (10, measures.top_10)):
        yield f"first {depth} in common", _number(share), "mean over queries with more documents"
    yield "score difference", _number(measures.mean_difference), "mean, absolute"
    yield "", _number(measures.largest_difference), "largest"
    if vectors := compared.vectors:
        yield "cosine of vectors", _number(vectors.mean), f"mean of {vectors.texts} texts"
        yield "", _number(vectors.minimum), "minimum"
        yield "", f"{vectors.deviation:.2g}", "standard deviation"


def _notes(compared: Comparison, names: tuple[str, str]) -> Iterator[str]:
    """Queries without a correlation, and why."""
    for ordered, reason in _NOT_TOLD_APART.items():
        if number := sum(query.ordered == ordered for query in compared.agreement.queries):
            yield f"{number} of {len(compared.agreement.queries)} queries: {reason.format(*names)}"


def _worst(compared: Comparison, number: int) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    table.add_column("query", overflow="fold")
    for query in compared.agreement.worst(number):
        table.add_row(*map(Text, _cells(compared.collection, query)))
    return table


def _cells(collection: Collection, query: QueryAgreement) -> Iterator[str]:
    measures = query.measures
    for value in (measures.consistency, measures.pearson, measures.spearman, measures.top_10):
        yield _number(value)
    yield _number(measures.largest_difference)
    yield printable(collection.candidates[query.query][query.farthest])
    yield cut_to_width(collection.queries[query.query], _QUERY_COLUMNS)


def _verdict(compared: Comparison) -> str:
    return f"agreement: {compared.agreement.level}"


def _number(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:.4f}"


def _as_json(compared: Comparison, ours: _Side, theirs: _Side, seed: int) -> dict[str, Any]:
    collection, agreement = compared.collection, compared.agreement
    return {
        "data": collection.name,
        "digest": collection.digest(),
        "queries": len(collection.candidates),
        "pairs": agreement.pairs,
        "seed": seed,
        "model": {"name": ours.name, "server": ours.server},
        "reference": {"name": theirs.name, "server": theirs.server},
        "agreement": agreement.level,
        "measures": {**asdict(agreement.measures), "mean_pearson": agreement.mean_pearson},
        "vectors": asdict(compared.vectors) if compared.vectors else None,
        "per_query": [_query_as_json(collection, query) for query in agreement.worst(len(agreement.queries))],
    }


def _query_as_json(collection: Collection, query: QueryAgreement) -> dict[str, Any]:
    return {
        "id": query.query,
        "query": collection.queries[query.query],
        "documents": query.documents,
        "told_apart_by": query.ordered,
        "farthest_document": collection.candidates[query.query][query.farthest],
        "measures": asdict(query.measures),
    }
