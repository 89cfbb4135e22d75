"""This server and its peers over HTTP, one after the other on one machine, with the same requests.

    python -m benchmarks.http_load --model minilm --documents 20 --requests 32 --clients 1 8 32 --repeat 3

Each round starts every contestant, sends it all requests from each number of clients at once, and ends it; every second
round goes backwards. Prints pairs a second, latencies, peak memory of the server's processes while it serves (and since
its start), the ratio of its pairs a second to the first contestant's, and how far its scores are from the first's; each
figure is the median of the rounds. The floor is the model's matrix products alone, at the rate measured before each
round. A contestant that cannot run here is listed with the reason. Peers are installed by `make bench-peers`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.contestants import DEFAULT, contestant
from benchmarks.figures import Sample, figures, ratios
from benchmarks.floor import DTYPES, floor_seconds, products_rate
from benchmarks.processes import Contestant, NotAvailableError, RunningServer, serving
from benchmarks.workload import QUERY, SIZES, checkpoint, documents, token_count
from rerank.evaluation.workload import turned

_MEGABYTE = 1e6


@dataclass(slots=True)
class Record:
    """What is known of a contestant after some rounds."""

    name: str
    obstacle: str | None = None
    """Why it cannot run here."""
    scores: list[float] = field(default_factory=list)
    """Of the first request."""
    rounds: dict[int, list[Sample]] = field(default_factory=dict)
    """By number of clients."""
    serving_bytes: list[int] = field(default_factory=list)
    starting_bytes: list[int] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    folder: Path = options.folder
    model = checkpoint(options.model, folder)
    entries = [contestant(name, model) for name in options.contestants]
    texts = [documents(options.documents, seed) for seed in range(options.requests)]
    bodies = {
        number: [_body(model.name, [turned(text, turn) for text in request]) for request in texts]
        for turn, number in enumerate(options.clients, 1)
    }
    warm_up = [_body(model.name, request) for request in texts[:2]]
    tokens = sum(token_count(options.model, request) for request in texts)
    print(f"{options.model}: {options.requests} requests of {options.documents} documents, {tokens} tokens together")

    records = {entry.name: Record(entry.name) for entry in entries}
    floors: dict[str, list[float]] = {name: [] for name in DTYPES}
    for turn in range(options.repeat):
        for name, dtype in DTYPES.items():
            floors[name].append(floor_seconds(model, tokens, products_rate(model, dtype)))
        for entry in entries if turn % 2 == 0 else reversed(entries):
            measure(entry, records[entry.name], warm_up, bodies, folder / "logs")
    pairs = options.requests * options.documents
    for line in report(list(records.values()), options.clients, options.documents):
        print(line)
    for name, seconds in floors.items():
        print(f"floor {name}: {pairs / statistics.median(seconds):.1f} pairs/s")


def measure(
    entry: Contestant, record: Record, warm_up: Sequence[bytes], bodies: Mapping[int, Sequence[bytes]], logs: Path
) -> None:
    """Add one round to a contestant's record, of bodies by number of clients; after a failure it is left alone."""
    if record.obstacle:
        return
    try:
        with serving(entry, logs) as server:
            record.scores = asyncio.run(_warm_up(server, entry, warm_up))
            record.starting_bytes.append(server.peak_bytes())
            server.forget_peak()
            for number, sent in bodies.items():
                record.rounds.setdefault(number, []).append(asyncio.run(load(server.url + entry.path, sent, number)))
            record.serving_bytes.append(server.peak_bytes())
    except (NotAvailableError, aiohttp.ClientError, TimeoutError) as error:
        record.obstacle = str(error) or type(error).__name__
    print(f"  {entry.name}: {record.obstacle or 'done'}", flush=True)


async def load(url: str, bodies: Sequence[bytes], clients: int) -> Sample:
    """Send every body once, from clients with a connection each."""
    waiting = iter(bodies)
    latencies: list[float] = []

    async with _session(clients) as session:

        async def client() -> None:
            for body in waiting:
                sent = time.perf_counter()
                await _post(session, url, body)
                latencies.append(time.perf_counter() - sent)

        started = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        return Sample(time.perf_counter() - started, tuple(latencies))


def report(records: Sequence[Record], clients: Sequence[int], documents: int) -> list[str]:
    """The table, and under it who did not run and why."""
    ran = [record for record in records if not record.obstacle]
    lines = []
    for number in clients:
        lines.append(f"\n{f'clients: {number}':<30} pairs/s  ratio    p50 ms    p95 ms    p99 ms  MB serving  MB start")
        rows = [figures(record.rounds[number], documents) for record in ran]
        shares = ratios([row.pairs_per_second for row in rows])
        for record, row, share in zip(ran, rows, shares, strict=True):
            serving_mb, starting_mb = (
                statistics.median(values) / _MEGABYTE for values in (record.serving_bytes, record.starting_bytes)
            )
            lines.append(
                f"{record.name:<30} {row.pairs_per_second:7.1f} {share or 0:6.2f} {row.p50:9.1f} {row.p95:9.1f}"
                f" {row.p99:9.1f} {serving_mb:11.0f} {starting_mb:9.0f}"
            )
    lines.append("")
    for record in ran[1:]:
        apart = max(abs(one - other) for one, other in zip(record.scores, ran[0].scores, strict=True))
        lines.append(f"scores of {record.name} are within {apart:.1e} of {ran[0].name}'s")
    lines += [f"{record.name}: not available: {record.obstacle}" for record in records if record.obstacle]
    return lines


async def _warm_up(server: RunningServer, entry: Contestant, bodies: Sequence[bytes]) -> list[float]:
    """Scores of the first body, in the order of its documents."""
    async with _session(1) as session:
        answers = [await _post(session, server.url + entry.path, body) for body in bodies]
    results = sorted(json.loads(answers[0])["results"], key=lambda result: int(result["index"]))
    return [float(result["relevance_score"]) for result in results]


def _session(clients: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=clients),
        timeout=aiohttp.ClientTimeout(total=600),
        headers={"Content-Type": "application/json"},
    )


async def _post(session: aiohttp.ClientSession, url: str, body: bytes) -> bytes:
    async with session.post(url, data=body) as answer:
        content = await answer.read()
        if answer.status != 200:
            raise NotAvailableError(f"answers {answer.status}: {content[:200].decode(errors='replace')}")
        return content


def _body(model: str, texts: Sequence[str]) -> bytes:
    return json.dumps({"model": model, "query": QUERY, "documents": texts}).encode()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="minilm")
    parser.add_argument("--documents", type=int, default=20, help="documents a request")
    parser.add_argument(
        "--requests", type=int, default=32, help="for each number of clients; each request has documents of its own"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument(
        "--contestants",
        nargs="+",
        default=DEFAULT,
        metavar="NAME",
        help="ours-, vllm-, vllm-defaults-, infinity- or sentence-transformers-, and fp32 or bf16 (ours: whatever "
        f"MODEL_PRECISION takes); ratios are to the first. Default: {' '.join(DEFAULT)}",
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
