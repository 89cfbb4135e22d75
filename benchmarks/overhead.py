"""What the server adds to its engine: a request over HTTP against the same pairs through scorer and scheduler alone.

    python -m benchmarks.overhead --requests 50

One client on one kept connection; requests over HTTP and runs of the engine take turns, so that both see the same
machine. Once with a scorer without a model, where the difference is all there is to see, once with the MiniLM-size
checkpoint, where it drowns in the model's own noise. Prints both p50s, their difference, and the median of the
differences between neighbours. The client's own work (sending, waiting, reading) counts as the server's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import numpy

from benchmarks.alone import engine_alone
from benchmarks.contestants import ROOT, ours
from benchmarks.processes import Contestant, NotAvailableError, serving
from benchmarks.scheduled import scheduled
from benchmarks.workload import QUERY, Score, checkpoint, documents
from rerank.core import Pair
from rerank.scorers.fake import WordOverlapScorer

_WARM_UP = 3


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--characters", type=int, default=600, help="length of a document")
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--precision", default="fp32", help="MODEL_PRECISION of the checkpoint")
    parser.add_argument("--only", choices=("words", "model"), help="only without a model, or only with one")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    options = parser.parse_args(arguments)

    pairs = [Pair(QUERY, text) for text in texts(options.documents, options.characters)]
    logs = options.folder / "logs"
    print(f"{options.documents} documents of {options.characters} characters, {options.requests} requests")
    if options.only != "model":
        with scheduled(WordOverlapScorer()) as engine:
            compare("without a model", words_server(), "acme/words", engine, pairs, options.requests, logs)
    if options.only != "words":
        model = checkpoint("minilm", options.folder)
        with engine_alone(model, options.precision, options.folder) as engine:
            server = ours(model, options.precision)
            compare(f"minilm {options.precision}", server, model.name, engine, pairs, options.requests, logs)


def texts(count: int, characters: int) -> list[str]:
    """Documents of exactly ``characters`` characters."""
    words = " ".join(documents(count + count * characters // 400, seed=1))
    return [words[place * characters : (place + 1) * characters] for place in range(count)]


def words_server() -> Contestant:
    """The application around a scorer without a model."""
    command = (sys.executable, "-m", "benchmarks.words_server", "{port}")
    return Contestant("words", command, {"PYTHONPATH": str(ROOT)})


def compare(
    title: str, server: Contestant, model: str, engine: Score, pairs: Sequence[Pair], requests: int, logs: Path
) -> None:
    """Take turns and print."""
    try:
        with serving(server, logs) as running:
            over_http, alone = asyncio.run(take_turns(running.url + server.path, model, engine, pairs, requests))
    except NotAvailableError as error:
        print(f"{title}: not available: {error}")
        return
    http_p50, engine_p50, difference, neighbours = summary(over_http, alone)
    print(
        f"{title}: p50 over HTTP {http_p50:.2f} ms, engine alone {engine_p50:.2f} ms, "
        f"the server adds {difference:.2f} ms (median of neighbours {neighbours:.2f} ms)",
        flush=True,
    )


async def take_turns(
    url: str, model: str, engine: Score, pairs: Sequence[Pair], requests: int
) -> tuple[list[float], list[float]]:
    """Seconds of each request over HTTP, and of each run of the engine."""
    body = json.dumps({"model": model, "query": QUERY, "documents": [pair.document for pair in pairs]}).encode()
    over_http: list[float] = []
    alone: list[float] = []
    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        for _ in range(_WARM_UP + requests):
            started = time.perf_counter()
            async with session.post(url, data=body) as answer:
                content = await answer.read()
            over_http.append(time.perf_counter() - started)
            if answer.status != 200:
                raise NotAvailableError(f"answers {answer.status}: {content[:200].decode(errors='replace')}")
            started = time.perf_counter()
            engine(pairs)
            alone.append(time.perf_counter() - started)
    return over_http[_WARM_UP:], alone[_WARM_UP:]


def summary(over_http: Sequence[float], alone: Sequence[float]) -> tuple[float, float, float, float]:
    """Milliseconds: both p50s, their difference, and the median difference of neighbours."""
    http, engine = numpy.array(over_http) * 1000, numpy.array(alone) * 1000
    http_p50, engine_p50 = float(numpy.median(http)), float(numpy.median(engine))
    return http_p50, engine_p50, http_p50 - engine_p50, float(numpy.median(http - engine))


if __name__ == "__main__":
    main()
