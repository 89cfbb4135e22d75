"""What is saved by keeping scores and vectors: 100 documents of which 90 were seen, against 100 of which none was.

    python -m benchmarks.cache --model bge-base --documents 100 --seen 90 --repeat 5 --place memory file:/tmp/scores.db
    python -m benchmarks.cache --model embedded

Prints the median seconds of each, and their ratio, and those of another query about documents that were all seen: an
embedding model knows their vectors. No HTTP. Every repetition has documents of its own, and computes the same
number of tokens per new document on average.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal

from benchmarks.workload import QUERY, SIZES, checkpoint, documents
from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, embedded_folder
from rerank.core import DEFAULT_OPTIONS, Pair
from rerank.engine import Engine
from rerank.gateway.cache.opening import open_store
from rerank.gateway.cache.pair_cache import PairCache
from rerank.settings import Settings

_TTL = 3600
_PAIRS = 100_000
_EMBEDDED = "embedded"
_OTHER_QUERY = "another question about the same documents"


class _Cached(NamedTuple):
    """A model behind a cache."""

    portal: BlockingPortal
    cache: PairCache
    model: LoadedModel

    def seconds(self, texts: Sequence[str], cached: int, query: str = QUERY) -> float:
        """The time of a request; ``cached`` is how many of its scores have to be in the cache."""
        pairs = [Pair(query, text) for text in texts]
        began = time.perf_counter()
        scores = self.portal.call(self.cache.score, self.model, pairs, DEFAULT_OPTIONS)
        seconds = time.perf_counter() - began
        assert scores.cached == cached, f"{scores.cached} scores were cached, not {cached}"
        return seconds


@contextmanager
def _cached(place: str, folder: Path, models_dir: Path) -> Iterator[_Cached]:
    card = ModelCard(id=folder.name, path=folder)
    choices: dict[str, Any] = {"rerank_models_dir": models_dir, "rerank_model_device": "cpu"}
    engine = Engine.open(Settings(_env_file=None, **choices), Catalog(models_dir, (card,)))
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(engine),
        portal.wrap_async_context_manager(engine.registry.lease(card)) as model,
        portal.wrap_async_context_manager(open_store(place, _PAIRS, _TTL)) as store,
    ):
        yield _Cached(portal, PairCache(store), model)


def measure(cached: _Cached, count: int, seen: int, repeat: int) -> tuple[float, float, float, float]:
    """Median seconds of a request with no document seen, with ``seen`` of them, with all, and of another query."""
    runs = []
    # seeds of its own for each process, because a file keeps the scores of earlier ones
    base = time.time_ns() % 10**9
    for number in range(repeat + 1):
        first, more = documents(count, base + 2 * number), documents(count - seen, base + 2 * number + 1)
        mixed = first[:seen] + more
        times = [cached.seconds(first, 0)]
        # scores reach a file or Redis in the background
        time.sleep(1)
        times += [cached.seconds(mixed, seen), cached.seconds(first, count), cached.seconds(first, 0, _OTHER_QUERY)]
        runs.append(times)
    # the first one warms up
    none, some, everything, other = (statistics.median(column) for column in zip(*runs[1:], strict=True))
    return none, some, everything, other


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*SIZES, _EMBEDDED], default="bge-base")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--seen", type=int, default=90)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--place", nargs="+", default=["memory"], help="as in RERANK_CACHE")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    arguments = parser.parse_args()
    embedded = arguments.model == _EMBEDDED
    folder = embedded_folder() if embedded else checkpoint(arguments.model, arguments.folder)
    assert folder, "the bundled model is missing"
    for place in arguments.place:
        with _cached(place, folder, arguments.folder) as cached:
            none, some, everything, other = measure(cached, arguments.documents, arguments.seen, arguments.repeat)
            runtime = cached.model.local.runtime if cached.model.local else ""
        print(f"{place}, {runtime}: {none:.3f} s with none of {arguments.documents} seen")
        print(f"  {some:.3f} s with {arguments.seen} seen: x {some / none:.3f}")
        print(f"  {1000 * everything:.1f} ms with all seen: x {everything / none:.4f}", flush=True)
        print(f"  {1000 * other:.1f} ms for another query: x {other / none:.3f}", flush=True)


if __name__ == "__main__":
    main()
