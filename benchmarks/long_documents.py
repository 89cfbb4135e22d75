"""What it costs to read long documents in chunks.

    python -m benchmarks.long_documents --words 4000 --documents 5 --requests 5

A server with a checkpoint of bge-base's size, whose words are one token each. Every request is sent three times: its
documents cut, in chunks, and those chunks as documents of a request without chunks. Prints for each the median seconds,
the tokens the model read, and how many times as long as the cut documents it took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import numpy

from benchmarks.contestants import NATIVE, ours
from benchmarks.processes import serving
from benchmarks.workload import QUERY, SIZES, checkpoint, documents_of

_PATH = "/v1/rerank"
_MOST = 1000
WAYS = ("cut", "chunks", "chunks as documents")


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, and what it took."""

    seconds: float
    tokens: int
    results: list[dict[str, Any]]

    def parts(self, texts: Sequence[str]) -> list[str]:
        """The chunks that were read of the request's documents; of one that was read whole, all of it."""
        parts = []
        for result in self.results:
            text = texts[result["index"]]
            spans = result.get("chunks") or [{"start": 0, "end": len(text)}]
            parts += [text[span["start"] : span["end"]] for span in spans]
        return parts


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    model = checkpoint(options.model, options.folder)
    print(f"{options.model} {options.precision}: {options.documents} documents of {options.words} words each")
    with serving(ours(model, options.precision), options.folder / "logs") as server:
        measured = asyncio.run(_measure(server.url, model.name, options))
    for line in table(measured):
        print(line)


async def _measure(url: str, model: str, options: argparse.Namespace) -> dict[str, list[Answered]]:
    found: dict[str, list[Answered]] = {way: [] for way in WAYS}
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(url, timeout=timeout) as session:
        # the first is a warm-up
        for seed in range(options.requests + 1):
            texts = documents_of(options.words, options.documents, seed)
            cut = await _ask(session, model, texts)
            chunked = await _ask(session, model, texts, max_chunks_per_doc=_MOST, return_chunks=True)
            alone = await _ask(session, model, chunked.parts(texts))
            for way, answer in zip(WAYS, (cut, chunked, alone), strict=True):
                found[way] += [answer] if seed else []
    return found


def table(measured: dict[str, list[Answered]]) -> list[str]:
    """Lines for people."""
    medians = {way: float(numpy.median([answer.seconds for answer in answers])) for way, answers in measured.items()}
    tokens = {way: float(numpy.median([answer.tokens for answer in answers])) for way, answers in measured.items()}
    heading = f"{'':20} {'seconds':>8} {'tokens':>9} {'of cut':>7}"
    return [heading] + [
        f"{way:20} {medians[way]:8.3f} {tokens[way]:9.0f} {medians[way] / medians[WAYS[0]]:7.2f}" for way in measured
    ]


async def _ask(session: aiohttp.ClientSession, model: str, texts: Sequence[str], **fields: Any) -> Answered:
    body = {"model": model, "query": QUERY, "documents": texts, "return_documents": False, "cache": False} | fields
    began = time.perf_counter()
    async with session.post(_PATH, json=body) as answer:
        answer.raise_for_status()
        content = json.loads(await answer.read())
    return Answered(time.perf_counter() - began, content["usage"]["total_tokens"], content["results"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="bge-base")
    parser.add_argument("--precision", default=NATIVE, help="MODEL_PRECISION")
    parser.add_argument("--words", type=int, default=4000, help="words of a document")
    parser.add_argument("--documents", type=int, default=5, help="documents of a request")
    parser.add_argument("--requests", type=int, default=5, help="requests of each kind")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
