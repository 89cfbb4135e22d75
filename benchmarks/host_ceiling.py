"""How many pairs a second the host can read, queue, pack and answer: the most that a GPU can be fed by one server.

    python -m benchmarks.host_ceiling --documents 10 100 1000

The whole server over HTTP, with tokenisers of the published sizes (XLM-RoBERTa's 250,002 pieces, Qwen's 151,643
merged bytes) and a scorer that lays batches out and computes nothing. Documents of 115 made-up words; the load comes
from this process, on the same machine. Prints pairs and tokens a second, the same for each second that the server's
threads computed (a core's worth), and the milliseconds of each stage per request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import httpx2

from benchmarks.contestants import ROOT
from benchmarks.host_texts import KINDS, texts
from benchmarks.http_load import load
from benchmarks.processes import Contestant, RunningServer, serving

QUERY = "which words do these documents share"
_STAGE = re.compile(r'rerank_stage_duration_seconds_sum\{stage="(\w+)"\} ([\d.e+-]+)')
_TOKENS = re.compile(r"rerank_batch_tokens_sum\{[^}]*\} ([\d.e+-]+)")


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=KINDS)
    parser.add_argument("--documents", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--pairs", type=int, default=20_000, help="for each number of documents")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    options = parser.parse_args(arguments)
    print(f"{'':<12} {'documents':>9} {'pairs/s':>8} {'tokens/s':>9} {'of a core':>9}  stages, ms a request")
    for kind in options.kinds:
        command = (sys.executable, "-m", "benchmarks.host_server", "{port}", kind, str(options.folder / "host"))
        contestant = Contestant(f"host-{kind}", command, {"PYTHONPATH": str(ROOT)})
        with serving(contestant, options.folder / "logs") as server:
            for documents in options.documents:
                print(f"{kind:<12} {documents:>9} {measure(server, documents, options)}", flush=True)


def measure(server: RunningServer, documents: int, options: argparse.Namespace) -> str:
    """One row of the table, without its beginning."""
    requests = max(1, options.pairs // documents)
    made = texts(documents * requests)
    bodies = [_body([made[(start + place) % len(made)] for place in range(documents)]) for start in range(requests)]
    address = f"{server.url}/v1/rerank"
    with httpx2.Client(timeout=60) as client:
        tokens = requests * client.post(address, content=bodies[0]).json()["usage"]["total_tokens"]
        asyncio.run(load(address, bodies[: options.clients], options.clients))
        before, computed = _stages(client, server), server.cpu_seconds()
        seconds = asyncio.run(load(address, bodies, options.clients)).seconds
        after, computed = _stages(client, server), server.cpu_seconds() - computed
    pairs = requests * documents
    each = ", ".join(f"{name} {(after[name] - before[name]) / requests * 1000:.2f}" for name in before)
    return f"{pairs / seconds:>8.0f} {tokens / seconds:>9.0f} {pairs / computed:>9.0f}  {each}"


def _body(documents: Sequence[str]) -> bytes:
    return json.dumps({"model": "acme/words", "query": QUERY, "documents": documents}).encode()


def _stages(client: httpx2.Client, server: RunningServer) -> dict[str, float]:
    """Seconds of each stage of all requests together."""
    return {name: float(seconds) for name, seconds in _STAGE.findall(client.get(f"{server.url}/metrics").text)}


if __name__ == "__main__":
    main()
