"""How far over its time budget an answer comes, while other requests keep the server busy.

    python -m benchmarks.budgets --budgets 50 200 1000 --clients 4 --requests 50

A server with a checkpoint of bge-base's size. Clients without a budget send documents all the time; next to them one
client after the other asks with a budget, as a header and as a field by turns. Prints for each budget how many
milliseconds after it the answers came (p50, p99; negative: before), how many documents were scored, and how many
answers were partial.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy

from benchmarks.contestants import NATIVE, ours
from benchmarks.processes import serving
from benchmarks.workload import QUERY, SIZES, checkpoint, documents

BUDGET_HEADER = "X-Rerank-Budget-Ms"
_PATH = "/v1/rerank"


@dataclass(frozen=True, slots=True)
class Late:
    """An answer to a request with a budget."""

    over: float
    """Milliseconds from the end of the budget to the end of the answer."""
    scored: int
    """Documents that were scored."""
    partial: bool


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    model = checkpoint(options.model, options.folder)
    print(f"{options.model} {options.precision}: {options.requests} requests of {options.documents} documents each")
    with serving(ours(model, options.precision), options.folder / "logs") as server:
        for line in asyncio.run(_measure(server.url, model.name, options)):
            print(line, flush=True)


async def _measure(url: str, model: str, options: argparse.Namespace) -> list[str]:
    lines = [HEADING]
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        # so that the server knows the speed of its device
        await _post(session, _body(model, documents(options.load_documents)))
        async with _busy(session, model, options.clients, options.load_documents):
            for budget in options.budgets:
                answers = [
                    await ask(session, _body(model, documents(options.documents, seed)), budget, header=seed % 2 == 0)
                    for seed in range(options.requests)
                ]
                lines.append(row(budget, answers))
    return lines


HEADING = "budget ms   over p50   over p99   scored p50   partial"


def row(budget: float, answers: Sequence[Late]) -> str:
    """A line of the table."""
    p50, p99 = numpy.percentile([answer.over for answer in answers], (50, 99))
    scored = numpy.median([answer.scored for answer in answers])
    partial = sum(answer.partial for answer in answers)
    return f"{budget:9g} {p50:10.1f} {p99:10.1f} {scored:12.0f} {partial:5d}/{len(answers)}"


@asynccontextmanager
async def _busy(session: aiohttp.ClientSession, model: str, clients: int, count: int) -> AsyncIterator[None]:
    """Clients without a budget, each with a request under way all the time."""

    async def client(number: int) -> None:
        for seed in range(number, 1_000_000, clients):
            await _post(session, _body(model, documents(count, seed)))

    tasks = [asyncio.ensure_future(client(number)) for number in range(clients)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(session: aiohttp.ClientSession, body: dict[str, Any], budget: float, *, header: bool) -> Late:
    """The answer to one request with a budget in milliseconds."""
    headers = {BUDGET_HEADER: f"{budget:g}"} if header else {}
    sent = body if header else body | {"budget_ms": budget}
    began = time.perf_counter()
    answer = await _post(session, sent, headers)
    over = (time.perf_counter() - began) * 1000 - budget
    if sorted(result["index"] for result in answer["results"]) != list(range(len(body["documents"]))):
        raise ValueError("a document is missing in an answer")
    scored = sum(result.get("scored", True) for result in answer["results"])
    return Late(over, scored, answer["meta"]["partial"])


async def _post(
    session: aiohttp.ClientSession, body: dict[str, Any], headers: dict[str, str] | None = None
) -> dict[str, Any]:
    async with session.post(_PATH, json=body, headers=headers) as answer:
        answer.raise_for_status()
        content: dict[str, Any] = json.loads(await answer.read())
        return content


def _body(model: str, texts: Sequence[str]) -> dict[str, Any]:
    return {"model": model, "query": QUERY, "documents": texts, "cache": False}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="bge-base")
    parser.add_argument("--precision", default=NATIVE, help="MODEL_PRECISION")
    parser.add_argument("--budgets", type=float, nargs="+", default=[50, 200, 1000], metavar="MS")
    parser.add_argument("--documents", type=int, default=100, help="documents of a request with a budget")
    parser.add_argument("--requests", type=int, default=50, help="requests for each budget")
    parser.add_argument("--clients", type=int, default=4, help="clients without a budget")
    parser.add_argument("--load-documents", type=int, default=20, help="documents of a request without a budget")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
