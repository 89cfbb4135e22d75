"""One key floods the server, another asks now and then: how long the other waits. Over HTTP.

    python -m benchmarks.key_fairness --model minilm --clients 32 --flood 50 --short 10 --seconds 60

Prints the latency of the short requests alone, next to the flood under a key of their own, and next to it under the
flood's key; and how many documents of the flood were scored a second meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import numpy

from benchmarks.contestants import ours
from benchmarks.processes import serving
from benchmarks.workload import QUERY, SIZES, checkpoint, documents

_FLOOD, _OTHER = "flood-key", "other-key"
_PAUSE_SECONDS = 0.5
"""Between two short requests."""


@dataclass(slots=True)
class Seen:
    """What came of the requests of one scene."""

    seconds: list[float] = field(default_factory=list)
    """Of each short request."""
    flooded: int = 0
    """Documents of the flood that were scored."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who asks for what."""

    url: str
    model: str
    short: int
    """Documents of a short request."""
    flood: int
    """Documents of a request of the flood."""
    clients: int
    """Of the flood; none without it."""
    key: str
    """Of the short requests."""
    duration: float

    async def play(self) -> Seen:
        """Ask for as long as the scene lasts."""
        seen = Seen()
        connections = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            self.url, connector=connections, timeout=aiohttp.ClientTimeout(600)
        ) as session:
            flood = [asyncio.create_task(self._flood(session, seen, number)) for number in range(self.clients)]
            await self._ask_now_and_then(session, seen)
            for task in flood:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*flood)
        return seen

    async def _flood(self, session: aiohttp.ClientSession, seen: Seen, seed: int) -> None:
        texts = documents(self.flood, seed)
        while True:
            await self._ask(session, texts, _FLOOD)
            seen.flooded += len(texts)

    async def _ask_now_and_then(self, session: aiohttp.ClientSession, seen: Seen) -> None:
        texts = documents(self.short, seed=10_000)
        end = time.perf_counter() + self.duration
        while time.perf_counter() < end:
            await asyncio.sleep(_PAUSE_SECONDS)
            began = time.perf_counter()
            await self._ask(session, texts, self.key)
            seen.seconds.append(time.perf_counter() - began)

    async def _ask(self, session: aiohttp.ClientSession, texts: list[str], key: str) -> None:
        body = json.dumps({"model": self.model, "query": QUERY, "documents": texts})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        async with session.post("/v1/rerank", data=body, headers=headers) as response:
            response.raise_for_status()
            await response.read()


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="minilm")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--clients", type=int, default=32, help="clients that flood")
    parser.add_argument("--flood", type=int, default=50, help="documents of each of their requests")
    parser.add_argument("--short", type=int, default=10, help="documents of the other key's requests")
    parser.add_argument("--seconds", type=float, default=60, help="of each scene")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    options = parser.parse_args()

    model = checkpoint(options.model, options.folder)
    entry = ours(model, options.precision)
    entry = replace(entry, environment=entry.environment | {"RERANK_API_KEY": f"{_FLOOD},{_OTHER}"})
    scenes = {"alone": (0, _OTHER), "own key": (options.clients, _OTHER), "the flood's key": (options.clients, _FLOOD)}
    print(f"{options.model}: {options.short} documents next to {options.clients} clients with {options.flood} each")
    print(f"{'short requests':16} {'number':>6} {'p50 s':>7} {'p95 s':>7} {'x alone':>8} {'flood docs/s':>13}")
    alone = 0.0
    with serving(entry, options.folder / "logs") as server:
        warm_up = Scene(server.url, model.name, options.short, options.flood, 0, _OTHER, duration=0.1)
        asyncio.run(warm_up.play())
        for name, (clients, key) in scenes.items():
            scene = Scene(server.url, model.name, options.short, options.flood, clients, key, duration=options.seconds)
            seen = asyncio.run(scene.play())
            median, p95 = numpy.percentile(seen.seconds, (50, 95))
            alone = alone or median
            print(
                f"{name:16} {len(seen.seconds):6} {median:7.2f} {p95:7.2f} "
                f"{median / alone:8.1f} {seen.flooded / options.seconds:13.1f}"
            )


if __name__ == "__main__":
    main()
