"""`rerank tune ENSEMBLE`: weights of the members of an ensemble."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from rerank.cli import evaluation
from rerank.cli.evaluation import distinct, journal_of, key_of, progress_bar
from rerank.cli.terminal import CommandFailed, verbatim
from rerank.evaluation.collection import Collection
from rerank.evaluation.rankers import Rankers, open_rankers
from rerank.evaluation.reading.reader import read_collection
from rerank.evaluation.reading.wanted import Files, Wanted
from rerank.evaluation.scoring import Journal, score_collection
from rerank.evaluation.tuning import Objective, Tuned, by_agreement, by_measure, candidates, tune
from rerank.settings import Settings

_EPILOG = f"""
examples:
  rerank tune blend --on data/
  rerank tune blend --on data/ --measure RR@10 --server http://localhost:8000
  rerank tune blend --to gte-rerank-v2 --on pairs.jsonl

DATA is read as `rerank evaluate` reads it. Every member is asked once; its relevance is calibrated if its card says so.
Values are of queries that the weights were not chosen by (five folds). Weights that are not better than equal ones
(paired test, 5 %) are not recommended.

{evaluation.STATUSES}
"""
_AGREEMENT = "Kendall's tau"

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True, slots=True)
class _Task:
    """Whose weights are tuned, and by what."""

    ensemble: str
    reference: str | None
    """None for judgements."""
    measure: str


@app.command("tune", epilog=verbatim(_EPILOG))
def tune_command(
    ensemble: Annotated[str, typer.Argument(help="Name of an ensemble, as in a request.")],
    on: Annotated[Path, typer.Option(metavar="DATA", exists=True, help="Judged texts; with --to any texts.")],
    to: Annotated[
        str | None, typer.Option(metavar="REFERENCE", help="Model whose order is to be met, in place of judgements.")
    ] = None,
    measure: Annotated[str, typer.Option(help="Any measure of ir-measures.")] = "nDCG@10",
    queries: evaluation.Queries = None,
    corpus: evaluation.Corpus = None,
    qrels: evaluation.Qrels = None,
    run: evaluation.Run = None,
    depth: evaluation.Depth = None,
    sample: evaluation.Sample = None,
    seed: evaluation.Seed = 0,
    server: evaluation.Server = None,
    api_key: evaluation.Key = None,
    as_json: evaluation.AsJson = False,
) -> None:
    """Choose the weights of an ensemble's members, and print them as TOML for its card."""
    task = _Task(ensemble, to, measure)
    files, wanted = Files(queries, corpus, qrels, run), Wanted(depth, sample, seed, judged=to is None)

    async def work(settings: Settings) -> tuple[Sequence[str], Tuned]:
        collection = read_collection(on, files, wanted)
        async with open_rankers(settings, server, key_of(settings, api_key)) as rankers:
            members = await rankers.members(ensemble)
            if len(members) < 2:
                raise CommandFailed(f"{ensemble} has one member: there is nothing to weigh", 2)
            with journal_of("tune", collection, members, to, server) as journal:
                objective = await _objective(rankers, task, members, collection, journal)
                with progress_bar("weights", len(candidates(len(members), seed))) as progress:
                    return members, tune(objective, len(members), seed, progress)

    members, tuned = evaluation.run(work)
    if as_json:
        print(json.dumps({"ensemble": ensemble, "members": members} | asdict(tuned) | {"toml": _toml(members, tuned)}))
    else:
        _print(task, members, tuned)


async def _objective(
    rankers: Rankers, task: _Task, members: Sequence[str], collection: Collection, journal: Journal
) -> Objective:
    names = [*members, *([task.reference] if task.reference else [])]
    await distinct(rankers, names)
    with progress_bar("scoring", collection.pairs * len(names)) as progress:
        scored = [
            await score_collection(rankers, name, collection, journal=journal, progress=progress) for name in names
        ]
    if task.reference:
        return by_agreement(scored[:-1], scored[-1])
    return by_measure(scored, collection, task.measure)


def _print(task: _Task, members: Sequence[str], tuned: Tuned) -> None:
    width = max(map(len, [*members, "equal weights"]))
    by = f"{_AGREEMENT} with {task.reference}" if task.reference else task.measure
    print(f"{task.ensemble}: {by}, {tuned.queries} queries\n")
    for member, value, weight in zip(members, tuned.alone, tuned.weights, strict=True):
        print(f"{member:<{width}}  {value:.4f}   tuned weight {weight:.2f}")
    print(f"{'equal weights':<{width}}  {tuned.equal:.4f}")
    print(f"{'tuned weights':<{width}}  {tuned.value:.4f}   p = {tuned.p:.4f}\n")
    if not tuned.worth_it:
        print("Equal weights are as good:\n")
    print(_toml(members, tuned))


def _toml(members: Sequence[str], tuned: Tuned) -> str:
    """The line of the ensemble's card."""
    models = ", ".join(json.dumps(member, ensure_ascii=False) for member in members)
    if not tuned.worth_it:
        return f'ensemble = {{ models = [{models}], fusion = "mean" }}'
    weights = ", ".join(f"{weight:.4g}" for weight in tuned.weights)
    return f'ensemble = {{ models = [{models}], fusion = "weighted", weights = [{weights}] }}'
