"""Three models under a memory budget that holds two: what it costs, and that memory stays flat.

    python -m benchmarks.many_models --budget 6.75GB --picture docs/benchmarks/memory.svg

Starts the server with full-size random checkpoints (bge-base, MiniLM, Qwen3-Reranker-0.6B) and sends requests for
models picked at random from several clients at once. Prints errors, loads, the most bytes of models by the server's own
count, its resident memory at most, and latencies of requests whose model was in memory (warm) or had to be loaded first
(cold). Then sends further requests one after another, to the models that fit together, and prints how resident memory
moved: the slope of a line through it, and the error of that slope. ``--picture`` draws the curve
(`make extras`). Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy

from benchmarks.causal_checkpoints import CAUSAL_SIZES
from benchmarks.contestants import ours
from benchmarks.processes import Contestant, serving
from benchmarks.resources import trend, usage
from benchmarks.workload import QUERY, SIZES, checkpoint, documents_of

MODELS = ("bge-base", "minilm", "qwen3-0.6b")
_LOOK_SECONDS = 0.1
_MEGABYTE = 1e6


@dataclass(slots=True)
class Record:
    """What was seen."""

    warm: list[float] = field(default_factory=list)
    """Seconds of requests whose model was in memory when they were sent."""
    cold: list[float] = field(default_factory=list)
    """Seconds of the others."""
    errors: list[str] = field(default_factory=list)
    most_bytes: int = 0
    """Of the models in memory, by the server's own count."""
    most_resident: float = 0.0
    """Megabytes that the server's processes took, loads under way included."""


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    folders = [checkpoint(model, options.folder) for model in options.models]
    entry = limited(ours(folders[0], options.precision), options.budget)
    with serving(entry, options.folder / "logs") as server:
        record = asyncio.run(pick_at_random(server.url, server.pid, options))
        loads = count_loads(options.folder / "logs" / f"{entry.name}.log")
        curve = asyncio.run(memory_curve(server.url, server.pid, options))
    for line in report(record, loads, curve):
        print(line)
    if options.picture:
        draw(curve, options.picture)


def limited(entry: Contestant, budget: str) -> Contestant:
    """The server with a memory budget, and nothing loaded at the start."""
    environment = {name: value for name, value in entry.environment.items() if name != "RERANK_PRELOAD"}
    return Contestant(entry.name, entry.command, environment | {"RERANK_MEMORY_BUDGET": budget})


async def pick_at_random(url: str, pid: int, options: argparse.Namespace) -> Record:
    """All requests from all clients, while another thread watches what the server holds."""
    picks = random.Random(0)  # noqa: S311
    wanted = iter([picks.choice(options.models) for _ in range(options.requests)])
    record = Record()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:

        async def client() -> None:
            for model in wanted:
                await ask(session, url, model, options, record)

        watch = asyncio.create_task(keep_looking(session, url, pid, record))
        await asyncio.gather(*(client() for _ in range(options.clients)))
        watch.cancel()
    return record


async def ask(
    session: aiohttp.ClientSession, url: str, model: str, options: argparse.Namespace, record: Record
) -> None:
    """One request, noted as warm or cold."""
    async with session.get(f"{url}/ready", params={"model": model}) as ready:
        warm = ready.status == 200
    texts = documents_of(options.words, options.documents, seed=len(record.warm) + len(record.cold))
    body = {"model": model, "query": QUERY, "documents": texts}
    started = time.perf_counter()
    async with session.post(f"{url}/v1/rerank", json=body) as answer:
        content = await answer.read()
    (record.warm if warm else record.cold).append(time.perf_counter() - started)
    if answer.status != 200 or len(json.loads(content)["results"]) != options.documents:
        record.errors.append(f"{model}: {answer.status} {content[:200].decode(errors='replace')}")


async def keep_looking(session: aiohttp.ClientSession, url: str, pid: int, record: Record) -> None:
    """Note the most bytes that the server holds."""
    while True:
        record.most_resident = max(record.most_resident, usage(pid).resident)
        async with session.get(f"{url}/v1/models") as answer:
            record.most_bytes = max(record.most_bytes, held_bytes(await answer.json()))
        await asyncio.sleep(_LOOK_SECONDS)


def held_bytes(models: dict[str, Any]) -> int:
    """Bytes of the models that are in memory; those of one that is being loaded are not known yet."""
    return sum(int(model["bytes"] or 0) for model in models["data"] if model["state"] in ("ready", "draining"))


def count_loads(log: Path) -> int:
    """How often a model was loaded, by the server's log."""
    return log.read_text(encoding="utf-8", errors="replace").count(" is ready after ")


async def memory_curve(url: str, pid: int, options: argparse.Namespace) -> list[tuple[int, float]]:
    """Requests so far and megabytes resident, over further requests to the models that fit together."""
    together = options.models[:2]
    curve: list[tuple[int, float]] = []
    quiet = Record()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        for number in range(options.further + 1):
            if number % options.every == 0:
                curve.append((number, usage(pid).resident))
            await ask(session, url, together[number % len(together)], options, quiet)
    return curve


def report(record: Record, loads: int, curve: Sequence[tuple[int, float]]) -> list[str]:
    """What was seen, in lines."""
    lines = [
        f"{len(record.warm) + len(record.cold)} requests, {len(record.errors)} errors, {loads} loads, "
        f"at most {record.most_bytes / _MEGABYTE:.0f} MB of models, {record.most_resident:.0f} MB resident"
    ]
    for name, seconds in (("warm", record.warm), ("cold", record.cold)):
        if seconds:
            p50, p95 = numpy.percentile(seconds, (50, 95))
            lines.append(f"{name}: {len(seconds)} requests, p50 {p50:.2f} s, p95 {p95:.2f} s")
    # the second half, when what grows with use for the first time has grown
    line = trend(curve[len(curve) // 2 :]).times(1000)
    lines.append(
        f"{curve[-1][0]} further requests: {curve[0][1]:.0f} MB at first, {curve[-1][1]:.0f} MB at last, "
        f"{line.slope:+.1f} ± {line.error:.1f} MB a thousand requests over the second half"
    )
    return lines + record.errors[:10]


def draw(curve: Sequence[tuple[int, float]], file: Path) -> None:
    """The curve as a picture."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.plot([number for number, _ in curve], [megabytes for _, megabytes in curve])
    axes.set(xlabel="requests", ylabel="resident memory, MB", ylim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", choices=(*SIZES, *CAUSAL_SIZES), nargs="+", default=list(MODELS))
    parser.add_argument("--budget", default="6.75GB", help="RERANK_MEMORY_BUDGET")
    parser.add_argument("--precision", default="fp32", help="MODEL_PRECISION")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--documents", type=int, default=2, help="documents a request")
    parser.add_argument("--words", type=int, default=20, help="words a document")
    parser.add_argument("--further", type=int, default=1000, help="requests over which memory is watched")
    parser.add_argument("--every", type=int, default=20, help="requests between two looks at it")
    parser.add_argument("--picture", type=Path, help="file for the curve: .svg or .png")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
