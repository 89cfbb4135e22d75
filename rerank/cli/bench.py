"""`rerank bench [MODEL...]`: speed of models on the devices of this machine."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import rerank
from rerank import cgroups
from rerank.catalog.built_in import EMBEDDED_MODEL_ID
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, download_command
from rerank.cli.terminal import CommandFailed, complain, verbatim
from rerank.devices import choose_device, choose_devices, free_memory, precisions_on
from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings
from rerank.telemetry import configure_logging
from rerank.units import human_size

if TYPE_CHECKING:
    from rerank.evaluation.speed import Run, Speed
    from rerank.evaluation.workload import Request

_EPILOG = """
examples:
  rerank bench
  rerank bench bge-reranker-base BAAI/bge-reranker-v2-m3 --precision fp32 --precision int8
  rerank bench my-model --device cpu --device cuda:0 --file queries.jsonl --markdown

Columns: load is the time until the model can score (the first load in a precision takes longer where OpenVINO converts
it, and the result is kept); memory is the process's on a CPU and the peak on a GPU; pairs/s and tokens/s are with
several requests in flight, p50 is the median time of a request that is alone; of matrix rate is the share of the rate
that torch reaches on this device in products of the model's own shape.

MODEL_RUNTIME and the other settings of models apply.

exit status:
  0    every run was measured
  1    a run failed; the reason is on stderr
  2    wrong usage or settings, or an unknown name
  3    a model is not on disk
  130  interrupted; the lines of finished runs are printed
"""
_REQUESTS = 64
_NAMES = ("model", "device", "precision", "load", "memory", "pairs/s", "tokens/s", "p50", "of matrix rate", "runtime")
_WIDTHS = (0, 6, 9, 7, 8, 8, 9, 9, 14, 0)
_RIGHT = slice(3, 9)
_UNKNOWN = "-"

app = typer.Typer(rich_markup_mode=None, add_completion=False)
Form = Literal["table", "markdown", "json"]


@app.command(epilog=verbatim(_EPILOG))
def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL]...", help="Names, as in a request. Default: the models on disk."),
    ] = None,
    device: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="cpu, cuda:0, cuda or mps; repeatable. Default: all kinds.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="fp32, bf16, fp16 or int8; repeatable. Default: all that the device has."),
    ] = None,
    documents: Annotated[int, typer.Option(min=1, max=5000, help="Documents per request.")] = 20,
    seconds: Annotated[float, typer.Option(min=0, max=3600, help="Minimum seconds to measure, per run.")] = 10,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Texts to measure with: a document per line, or JSONL of {query, documents} or {text}. "
            "Default: documents of 20 to 370 words.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print an object per line.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table to paste.")] = False,
) -> None:
    """Measure models on this machine: on each device, in each precision, with documents of mixed length.

    A line is printed as soon as its run is done.
    """
    if as_json and markdown:
        raise CommandFailed("--json and --markdown exclude each other", 2)
    settings = read_settings()
    # the processes that measure repeat what is said here
    configure_logging("error", settings.log_format)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    chosen = _on_disk(catalog, models) if models else {name: name for name in _all_on_disk(catalog)}
    kinds = _kinds(device or _devices(), precision)
    requests = _requests(file, documents)
    form: Form = "json" if as_json else "markdown" if markdown else "table"
    try:
        failed = _print_runs(chosen, kinds, requests, seconds, form)
    except KeyboardInterrupt:
        raise CommandFailed("interrupted", 130) from None
    raise typer.Exit(1 if failed else 0)


def _on_disk(catalog: Catalog, names: Sequence[str]) -> dict[str, str]:
    """Each model once: its id, and its name, which may be a folder.

    Raises SettingsError for an unknown one, and CommandFailed for one that is not on disk.
    """
    cards = [(catalog.operator_choice(name), name) for name in names]
    for card, _ in cards:
        _check(catalog, card)
    return {card.id: name for card, name in cards}


def _check(catalog: Catalog, card: ModelCard) -> None:
    if not card.has_weights:
        raise CommandFailed(f"{card.id} has no weights on this machine; name the models it is made of, if any", 2)
    if catalog.folder(card) is None:
        raise CommandFailed(f"{card.id} is not on disk; fetch it first: {download_command(card.id)}", 3)


def _all_on_disk(catalog: Catalog) -> list[str]:
    cards = [card.id for card in catalog.cards() if card.has_weights and catalog.is_local(card)]
    return [name for name in cards if name != EMBEDDED_MODEL_ID] or [EMBEDDED_MODEL_ID]


def _devices() -> list[str]:
    """The CPU, and the first GPU if there is one."""
    return list(dict.fromkeys(["cpu", choose_device().name]))


def _kinds(devices: Sequence[str], precisions: Sequence[str] | None) -> list[tuple[str, str]]:
    """Each device with each of its precisions. Raises SettingsError for an unknown name, and where nothing is left."""
    found: list[tuple[str, str]] = []
    obstacles = []
    for device in dict.fromkeys(devices):
        settings = _settings(device, "auto")
        first = choose_devices(settings.device, runtime=settings.runtime)[0]
        for precision in dict.fromkeys(precisions or precisions_on(first.name, settings.runtime)):
            chosen = _settings(device, precision)
            try:
                choose_devices(chosen.device, chosen.precision, chosen.runtime)
            except SettingsError as error:
                obstacles.append(f"{chosen.precision} on {chosen.device} is left out: {error}")
            else:
                found.append((chosen.device, chosen.precision))
    if not found:
        raise SettingsError("; ".join(obstacles))
    for obstacle in obstacles:
        complain(obstacle)
    return found


def _settings(device: str, precision: str) -> Settings:
    given: dict[str, Any] = {"rerank_model_device": device, "rerank_model_precision": precision}
    return read_settings(given)


def _requests(file: Path | None, documents: int) -> list[Request]:
    from rerank.evaluation.workload import mixed_requests, requests_in_file

    return mixed_requests(_REQUESTS, documents) if file is None else requests_in_file(file, documents)


def _print_runs(
    models: Mapping[str, str], kinds: Sequence[tuple[str, str]], requests: Sequence[Request], seconds: float, form: Form
) -> int:
    """Measure and print; the number of runs that failed."""
    from rerank.evaluation.apart import Failed, run_apart
    from rerank.evaluation.speed import Run

    # lines have the ids, those of failures the names
    width = max(map(len, (*models, *models.values(), _NAMES[0])))
    _print_heading(form, width)
    failed = 0
    runs = [Run(name, *kind, requests, seconds) for name in models.values() for kind in kinds]
    for run in runs:
        try:
            with _status(run):
                speed = run_apart(_measure, run)
        except Failed as error:
            failed += 1
            complain(f"{run.model} on {run.device} in {run.precision}: {error}")
            _print(_failure(run, str(error)) if form == "json" else _failed_row(run), form, width)
        else:
            _print(asdict(speed) if form == "json" else _row(speed), form, width)
    return failed


def _measure(run: Run) -> Speed:
    """See ``speed.measure``; in the process that measures."""
    from rerank.evaluation.speed import measure

    configure_logging("warning", read_settings().log_format)
    return measure(run)


def _status(run: Run) -> AbstractContextManager[Any]:
    """What is under way, on a terminal."""
    if not sys.stderr.isatty():
        return nullcontext()
    from rich.console import Console
    from rich.text import Text

    return Console(stderr=True).status(Text(f"{run.model} on {run.device} in {run.precision}"))


def _print_heading(form: Form, width: int) -> None:
    if form == "json":
        return
    print(f"rerank {rerank.__version__}: {_machine()}\n")
    _print(_NAMES, form, width)
    if form == "markdown":
        rules = ["-" * len(name) for name in _NAMES]
        rules[_RIGHT] = [f"{rule[1:]}:" for rule in rules[_RIGHT]]
        _print(rules, form, width)


def _print(cells: Sequence[str] | dict[str, Any], form: Form, width: int) -> None:
    if form == "json":
        print(json.dumps(cells), flush=True)
    elif form == "markdown":
        print(f"| {' | '.join(cells)} |", flush=True)
    else:
        widths = (width, *_WIDTHS[1:])
        right = range(*_RIGHT.indices(len(widths)))
        padded = [
            cell.rjust(size) if place in right else cell.ljust(size)
            for place, (cell, size) in enumerate(zip(cells, widths, strict=True))
        ]
        print("  ".join(padded).rstrip(), flush=True)


def _row(speed: Speed) -> list[str]:
    return [
        speed.model,
        speed.device,
        speed.precision,
        f"{speed.load_seconds:.1f} s",
        human_size(speed.memory_bytes),
        f"{speed.pairs_per_second:.1f}",
        f"{speed.tokens_per_second:.0f}",
        f"{speed.p50_ms:.1f} ms",
        _UNKNOWN if speed.matrix_share is None else f"{speed.matrix_share:.0%}",
        speed.runtime,
    ]


def _failed_row(run: Run) -> list[str]:
    return [run.model, run.device, run.precision, *[_UNKNOWN] * 6, "failed"]


def _failure(run: Run, error: str) -> dict[str, Any]:
    return {"model": run.model, "device": run.device, "precision": run.precision, "error": error}


def _machine() -> str:
    memory = human_size(free_memory("cpu"))
    return f"{_cpu()}, {cgroups.cores()} cores, {memory} free; Python {platform.python_version()}"


def _cpu() -> str:
    """The CPU's name, where the system gives it."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
