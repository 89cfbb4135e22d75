"""How many pairs a second the host can read, queue, pack and answer: the most that a GPU can be fed by one server.

    python -m benchmarks.host_ceiling --documents 10 100 1000

The whole server over HTTP, with tokenisers of the published sizes (XLM-RoBERTa's 250,002 pieces, Qwen's 151,643
merged bytes) and a scorer that lays batches out and computes nothing. Documents of 115 made-up words: new ones, then
the same once more, with another query. The load comes from this process, on the same machine. Prints pairs and tokens
a second, pairs for each second that the server's threads computed (a core's worth), and the milliseconds of each stage
per request. ``--server-cores 0,1`` (Linux) leaves the server these cores alone and the load the others.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2

from benchmarks.contestants import ROOT
from benchmarks.host_texts import KINDS, texts
from benchmarks.http_load import load
from benchmarks.processes import Contestant, RunningServer, serving

QUERIES = {"new": "which words do these documents share", "again": "which of the words are common to these documents"}
"""Another one for known documents: their scores would be known, too."""
_STAGE = re.compile(r'rerank_stage_duration_seconds_sum\{stage="(\w+)"\} ([\d.e+-]+)')


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--documents", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--pairs", type=int, default=20_000, help="for each number of documents")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--server-cores", metavar="0,1", help="default: the server shares all cores with the load")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    options = parser.parse_args(arguments)
    apart = _apart(options.server_cores) if options.server_cores else ()
    print(f"{'':<12} {'documents':>9} {'':<5} {'pairs/s':>8} {'tokens/s':>9} {'of a core':>9}  stages, ms a request")
    for kind in options.kinds:
        command = (*apart, sys.executable, "-m", "benchmarks.host_server", "{port}", kind, str(options.folder / "host"))
        contestant = Contestant(f"host-{kind}", command, {"PYTHONPATH": str(ROOT)})
        with serving(contestant, options.folder / "logs") as server:
            for documents in options.documents:
                for seen, row in rows(server, documents, options):
                    print(f"{kind:<12} {documents:>9} {seen:<5} {row}", flush=True)


def rows(server: RunningServer, documents: int, options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Rows of the table, without their beginnings, by whether the documents are new."""
    requests = max(1, options.pairs // documents)
    made = texts(requests * documents, seed=documents)
    with httpx2.Client(timeout=60) as client:
        # other documents, which are about as long
        others = _body(QUERIES["new"], texts(documents))
        tokens = client.post(_address(server), content=others).json()["usage"]["total_tokens"]
        for seen, query in QUERIES.items():
            bodies = [_body(query, made[start : start + documents]) for start in range(0, len(made), documents)]
            before, computed = _stages(client, server), server.cpu_seconds()
            seconds = asyncio.run(load(_address(server), bodies, options.clients)).seconds
            after, computed = _stages(client, server), server.cpu_seconds() - computed
            each = ", ".join(f"{name} {(after[name] - before[name]) / requests * 1000:.2f}" for name in before)
            rates = [len(made) / seconds, requests * tokens / seconds, len(made) / computed]
            yield seen, f"{rates[0]:>8.0f} {rates[1]:>9.0f} {rates[2]:>9.0f}  {each}"


def _apart(cores: str) -> tuple[str, ...]:
    """What keeps a command to these cores; this process leaves them."""
    os.sched_setaffinity(0, os.sched_getaffinity(0) - {int(core) for core in cores.split(",")})
    return (shutil.which("taskset") or "taskset", "-c", cores)


def _address(server: RunningServer) -> str:
    return f"{server.url}/v1/rerank"


def _body(query: str, documents: Sequence[str]) -> bytes:
    return json.dumps({"model": "acme/words", "query": query, "documents": documents}).encode()


def _stages(client: httpx2.Client, server: RunningServer) -> dict[str, float]:
    """Seconds of each stage of all requests together."""
    return {name: float(seconds) for name, seconds in _STAGE.findall(client.get(f"{server.url}/metrics").text)}


if __name__ == "__main__":
    main()
