"""`rerank evaluate DATA MODEL...`: how well models rank the user's own data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from rerank.cli import evaluation as shared
from rerank.cli.terminal import CommandFailed, verbatim, wide_console
from rerank.evaluation.collection import Collection
from rerank.evaluation.measures import DEFAULT, Measures
from rerank.evaluation.outcome import Figure, Outcome, Row
from rerank.evaluation.rankers import Asked, Rankers, open_rankers
from rerank.evaluation.reading.reader import read_collection
from rerank.evaluation.reading.wanted import Files, Wanted
from rerank.evaluation.report import page
from rerank.evaluation.scoring import Journal, Scored, score_collection
from rerank.evaluation.unified import unified
from rerank.settings import Settings
from rerank_client import printable

_EPILOG = f"""
examples:
  rerank evaluate beir/scifact BAAI/bge-reranker-v2-m3 BAAI/bge-reranker-base
  rerank evaluate my-queries.jsonl cosine lexical --depth 50 --sample 200 --html report.html
  rerank evaluate trec-dl my-ensemble --server http://gpu-1:8000 --measure nDCG@10 --measure "AP(rel=2)" --json

data:
  a folder     queries.jsonl and corpus.jsonl (BEIR), or queries.tsv and collection.tsv; qrels/test.tsv, qrels.tsv or
               qrels.txt; run.* (TREC, or JSON), or else BM25 finds 100 candidates per query
  FILE.jsonl   (or .ndjson) lines of {{"query": ..., "documents": [...], "relevances": [...]}}
  FILE.csv     the same in columns (lists as JSON), or a row per pair: query, document, relevance

{shared.STATUSES}
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=verbatim(_EPILOG))
def evaluate(
    data: Annotated[Path, typer.Argument(help="Folder or file with queries, documents and judgements.")],
    models: Annotated[list[str], typer.Argument(help="Names, as in a request. The first is the reference.")],
    measure: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help=f"Measure of ir-measures; may be repeated. Default: {', '.join(DEFAULT)}."),
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with plot and worst queries.")] = None,
    queries: shared.Queries = None,
    corpus: shared.Corpus = None,
    qrels: shared.Qrels = None,
    run: shared.Run = None,
    depth: shared.Depth = None,
    sample: shared.Sample = None,
    seed: shared.Seed = 0,
    server: shared.Server = None,
    api_key: shared.Key = None,
    instruction: shared.Instruction = None,
    max_chunks_per_doc: shared.Chunks = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize",
            help='Show what `normalize = "nfkc"` in the cards would change; queries that it changes are scored twice.',
        ),
    ] = False,
    as_json: shared.AsJson = False,
) -> None:
    """Measure how well models rank judged data, next to the first stage's order.

    A mean over the queries stands above its 95 % bootstrap interval, and p of a paired randomisation test against the
    first model.
    """
    if html and not html.parent.is_dir():
        raise CommandFailed(f"--html: there is no folder {html.parent}", 2)
    files, wanted = Files(queries, corpus, qrels, run), Wanted(depth, sample, seed, judged=True)
    job = _Job(models, server, Asked(instruction, max_chunks_per_doc))

    async def work(settings: Settings) -> Outcome:
        collection = read_collection(data, files, wanted)
        measures = Measures(measure or DEFAULT, collection.grades)
        async with open_rankers(settings, server, shared.key_of(settings, api_key)) as rankers:
            await shared.distinct(rankers, models)
            with job.journal(collection) as journal:
                scored = await job.score(rankers, collection, journal)
                other = await job.score_again(rankers, unified(collection)) if normalize else None
                outcome = Outcome.of(collection, scored, measures, seed, other)
                if html:
                    html.write_text(page(outcome), encoding="utf-8")
        return outcome

    outcome = shared.run(work)
    if as_json:
        print(json.dumps(_as_json(outcome, seed), ensure_ascii=False, indent=2))
    else:
        _show(outcome)


@dataclass(frozen=True, slots=True)
class _Job:
    """The models to ask, and what for."""

    models: Sequence[str]
    server: str | None
    asked: Asked

    def journal(self, collection: Collection) -> AbstractContextManager[Journal]:
        return shared.journal_of("evaluate", collection, self.models, self.server, self.asked)

    async def score(self, rankers: Rankers, collection: Collection, journal: Journal) -> list[Scored]:
        return [await self._score(rankers, model, collection, journal) for model in self.models]

    async def score_again(self, rankers: Rankers, collection: Collection) -> list[Scored]:
        with self.journal(collection) as journal:
            return await self.score(rankers, collection, journal)

    async def _score(self, rankers: Rankers, model: str, collection: Collection, journal: Journal) -> Scored:
        with shared.progress_bar(printable(model), collection.pairs) as progress:
            return await score_collection(
                rankers, model, collection, asked=self.asked, journal=journal, progress=progress
            )


def _show(outcome: Outcome) -> None:
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 1, 0))
    shown.add_column("ranker", overflow="fold")
    effect = ["nfkc"] if outcome.models[0].effects else []
    for name in (*outcome.measures.names, *effect, "pairs/s", "tokens"):
        shown.add_column(Text(name), justify="right", no_wrap=True)
    for row in outcome.rows:
        # as text: brackets in a name are no markup
        shown.add_row(*map(Text, (*_cells(row), *_effect(row, outcome), *_work(row))))
    console = wide_console()
    console.print(shown)
    console.print(Text(_summary(outcome)))


def _cells(row: Row) -> Iterator[str]:
    yield printable(row.name)
    for figure in row.figures.values():
        yield "\n".join(_lines(figure))


def _effect(row: Row, outcome: Outcome) -> Iterator[str]:
    """What normalising changes in the first measure."""
    if row.effects:
        effect = row.effects[outcome.measures.names[0]]
        yield f"{effect.difference:+.4f}\np {effect.p:.4f}"
    elif outcome.models[0].effects:
        yield ""


def _work(row: Row) -> Iterator[str]:
    yield "" if row.pairs_per_second is None else f"{row.pairs_per_second:.1f}"
    yield f"{row.scored.tokens:,}" if row.scored else ""


def _lines(figure: Figure) -> Iterator[str]:
    yield f"{figure.mean:.4f}"
    if figure.interval:
        yield f"{figure.interval.low:.3f}-{figure.interval.high:.3f}"
    if figure.p is not None:
        yield f"p {figure.p:.4f}"


def _summary(outcome: Outcome) -> str:
    collection = outcome.collection
    effect = f" nfkc: what normalised texts change in {outcome.measures.names[0]}." if outcome.models[0].effects else ""
    return (
        f"{printable(collection.name)}: {len(collection.candidates)} queries, {collection.pairs} pairs. "
        "Below each mean: its 95 % bootstrap interval, and p of a paired randomisation test against "
        f"{printable(outcome.models[0].name)}.{effect}"
    )


def _as_json(outcome: Outcome, seed: int) -> dict[str, Any]:
    return {
        "data": outcome.collection.name,
        "digest": outcome.collection.digest(),
        "queries": len(outcome.collection.candidates),
        "pairs": outcome.collection.pairs,
        "depth": outcome.depth,
        "seed": seed,
        "reference": outcome.models[0].name,
        "rankers": [_row_as_json(row) for row in outcome.rows],
    }


def _row_as_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "measures": {
            name: {
                "mean": figure.mean,
                "low": figure.interval and figure.interval.low,
                "high": figure.interval and figure.interval.high,
                "p": figure.p,
            }
            for name, figure in row.figures.items()
        },
        "normalize": row.effects and {name: asdict(effect) for name, effect in row.effects.items()},
        "pairs_per_second": row.pairs_per_second,
        "tokens": row.scored and row.scored.tokens,
        "seconds": row.scored and row.scored.seconds,
    }
