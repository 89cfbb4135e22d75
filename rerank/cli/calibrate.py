"""`rerank calibrate MODEL`: a map from the model's relevance to a reference's, or to the probability of relevance."""

from __future__ import annotations

import datetime
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from rerank.calibration import Calibration, Method
from rerank.catalog.calibrations import calibrations_folder, file_name, write_calibration
from rerank.cli import evaluation
from rerank.cli.evaluation import distinct, journal_of, key_of, progress_bar
from rerank.cli.terminal import CommandFailed, verbatim
from rerank.evaluation.calibrating import Fitted, NoAgreement, Samples, calibrate, to_labels, to_reference
from rerank.evaluation.collection import Collection
from rerank.evaluation.rankers import DEFAULT_ASKED, Asked, DescribedRankers, open_rankers
from rerank.evaluation.reading.reader import read_collection
from rerank.evaluation.reading.wanted import Files, Wanted
from rerank.evaluation.scoring import Journal, score_collection
from rerank.settings import Settings

_EPILOG = """
examples:
  rerank calibrate bge-reranker-base --to gte-rerank-v2 --on data/
  rerank calibrate bge-reranker-base --labels data/ --method isotonic
  rerank calibrate bge-reranker-base --to jina --on pairs.jsonl --server http://localhost:8000

DATA is read as `rerank evaluate` reads it. The file is written to calibrations/ next to the models folder; the server
reads it at start and on SIGHUP, and applies it to requests with `calibrated: true`, and to all requests of a card with
`calibration = "auto"`. Methods: cubic, isotonic, beta, platt.

Errors (root mean square; below, before and after) are measured on queries that the curve was not fitted to, five folds.

exit status:
  0    fitted and written
  1    the two do not agree, and nothing was written; or an unexpected error
  2    wrong usage, settings or data
  3    a model cannot be loaded or asked
  130  interrupted; the same command goes on where it was
"""
_OF_LABELS = "labels"
_UNCALIBRATED = Asked(calibrated=False)

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True, slots=True)
class _Measured:
    """Scores and targets, and what they are of."""

    model: str
    reference: str
    weights: str
    data: str
    samples: Samples


@app.command("calibrate", epilog=verbatim(_EPILOG))
def calibrate_command(
    model: Annotated[str, typer.Argument(help="Name of the model, as in a request.")],
    to: Annotated[str | None, typer.Option(metavar="REFERENCE", help="Model whose scores are to be met.")] = None,
    on: Annotated[Path | None, typer.Option(metavar="DATA", help="Texts to compare the two on.")] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Judged texts, for scores that are the probability of relevance."),
    ] = None,
    method: Annotated[Method | None, typer.Option(help="Kind of curve. Default: the one with the least error.")] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: calibrations/<model>.json next to the models folder.")
    ] = None,
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
    """Fit a model's relevance to that of another model, or to the probability of relevance.

    The order of a ranking never changes; what a score means does.
    """
    data, files = _data(to, on, labels), Files(queries, corpus, qrels, run)
    _check_output(output)
    wanted = Wanted(depth, sample, seed, judged=to is None)

    async def work(settings: Settings) -> tuple[_Measured, Path]:
        collection = read_collection(data, files, wanted)
        async with open_rankers(settings, server, key_of(settings, api_key)) as rankers:
            with journal_of("calibrate", collection, model, to, server) as journal:
                measured = await _measure(rankers, model, to, collection, journal)
        return measured, output or calibrations_folder(settings.models_dir) / file_name(measured.model)

    try:
        measured, file = evaluation.run(work)
        fitted = calibrate(measured.samples, method, seed)
    except NoAgreement as error:
        raise CommandFailed(f"no agreement, nothing was written: {error}", 1) from error
    _write(file, measured, fitted)
    if as_json:
        print(_json(measured, fitted, file))
    else:
        _print(measured, fitted, file)


def _data(to: str | None, on: Path | None, labels: Path | None) -> Path:
    if (to is None) == (labels is None) or (to is None) != (on is None):
        raise CommandFailed("give --to REFERENCE with --on DATA, or --labels DATA", 2)
    data = on or labels
    if data is None or not data.exists():
        raise CommandFailed(f"there is no {data}", 2)
    return data


def _check_output(file: Path | None) -> None:
    """Before anything is scored: the file is replaced in the end. Raises CommandFailed."""
    if file is None:
        return
    if not file.parent.is_dir():
        raise CommandFailed(f"--output: there is no folder {file.parent}", 2)
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise CommandFailed(f"--output: {file} is not a regular file", 2)


async def _measure(
    rankers: DescribedRankers, model: str, reference: str | None, collection: Collection, journal: Journal
) -> _Measured:
    names = [model, *([reference] if reference else [])]
    await distinct(rankers, names)
    weights = await rankers.weights(model)
    with progress_bar("scoring", collection.pairs * len(names)) as progress:
        scored = [
            await score_collection(rankers, name, collection, asked=asked, journal=journal, progress=progress)
            for name, asked in zip(names, (_UNCALIBRATED, DEFAULT_ASKED), strict=False)
        ]
    samples = to_reference(*scored) if reference else to_labels(scored[0], collection)
    target = await rankers.identity(reference) if reference else _OF_LABELS
    return _Measured(await rankers.identity(model), target, weights, samples.digest(collection), samples)


def _write(file: Path, measured: _Measured, fitted: Fitted) -> None:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    calibration = Calibration(
        measured.model, fitted.method, fitted.curve, measured.weights, measured.reference, measured.data, today
    )
    try:
        write_calibration(file, calibration)
    except OSError as error:
        raise CommandFailed(f"{file}: cannot be written: {error.strerror}", 1) from error


def _json(measured: _Measured, fitted: Fitted, file: Path) -> str:
    return json.dumps(
        {
            "model": measured.model,
            "reference": measured.reference,
            "queries": len(measured.samples.scores),
            "pairs": measured.samples.pairs,
            "method": fitted.method,
            "tried": fitted.tried,
            "constant": fitted.constant,
            "before": asdict(fitted.before),
            "after": asdict(fitted.after),
            "file": str(file),
        },
        ensure_ascii=False,
    )


def _print(measured: _Measured, fitted: Fitted, file: Path) -> None:
    samples = measured.samples
    print(f"{measured.model} to {measured.reference}: {samples.pairs} pairs of {len(samples.scores)} queries\n")
    print(f"{'curve':<12}error")
    for name, error in sorted([*fitted.tried.items(), ("constant", fitted.constant)], key=lambda row: row[1]):
        print(f"{name:<12}{error:.4f}{'   <- chosen' if name == fitted.method else ''}")
    print(f"\n{'':<28}{'before':>8}{'after':>8}")
    for heading, name in _ERRORS.items():
        before, after = getattr(fitted.before, name), getattr(fitted.after, name)
        print(f"{heading:<28}{_number(before):>8}{_number(after):>8}")
    print(f"\nwritten: {file}")


_ERRORS = {"Pearson": "pearson", "mean error": "mean", "expected calibration error": "calibration"}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
