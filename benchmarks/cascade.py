"""What a cascade costs in ranking, and what it saves in time; no HTTP.

    python -m benchmarks.cascade --data DATA --queries 100 --keep 30
    python -m benchmarks.cascade --model bge-base --first minilm --documents 100 --keep 30 --repeat 5

With a judged set (see benchmarks.quality): NDCG@10 of the cascade `lexical` -> the embedded model, with its real
weights, of that model alone and of the first stage alone. Without: seconds of a cascade of two checkpoints with random
weights and of the second alone, in turn; device seconds are those of the stages.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from anyio.from_thread import BlockingPortal, start_blocking_portal

from benchmarks.quality import Scores, ndcg_at_10, read
from benchmarks.workload import QUERY, SIZES, checkpoint, documents
from rerank.catalog.built_in import EMBEDDED, LEXICAL_MODEL_ID
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, embedded_folder
from rerank.catalog.routes import CascadeStage
from rerank.core import Pair, ScoringRequest
from rerank.engine import Engine
from rerank.evaluation.collection import Collection
from rerank.results import ScoringResult
from rerank.settings import Settings


@dataclass(frozen=True, slots=True)
class _Engine:
    """A running engine, asked from another thread."""

    engine: Engine
    portal: BlockingPortal

    def ask(self, model: str, query: str, texts: Sequence[str]) -> ScoringResult:
        """What a request for the model gives."""
        return self.portal.call(self.engine.score, ScoringRequest(tuple(Pair(query, text) for text in texts), model))


@contextmanager
def _running(models_dir: Path, *cards: ModelCard) -> Iterator[_Engine]:
    choices: dict[str, Any] = {"rerank_models_dir": models_dir, "rerank_model_device": "cpu"}
    engine = Engine.open(Settings(_env_file=None, **choices), Catalog(models_dir, cards))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(engine):
        yield _Engine(engine, portal)


def _cascade(first: str, keep: int, second: str) -> ModelCard:
    return ModelCard("cascade", route=(CascadeStage(first, keep), CascadeStage(second)))


def quality(judged: Collection, keep: int, models_dir: Path) -> Iterator[tuple[str, float]]:
    """NDCG@10 of each model."""
    embedded = replace(EMBEDDED, path=embedded_folder())
    cascade = _cascade(LEXICAL_MODEL_ID, keep, embedded.id)
    with _running(models_dir, embedded, cascade) as engine:
        for model in (LEXICAL_MODEL_ID, embedded.id, cascade.id):
            yield model, ndcg_at_10(judged, _ranks(engine, model, judged))


def _ranks(engine: _Engine, model: str, judged: Collection) -> Scores:
    """By query: the rank of each candidate, negative, because a cascade's stages are not on one scale."""
    scores: Scores = {}
    for query, ids in judged.candidates.items():
        result = engine.ask(model, judged.queries[query], judged.texts(query))
        places = {document.index: -float(rank) for rank, document in enumerate(result.ranked)}
        scores[query] = [places[index] for index in range(len(ids))]
    return scores


class Timed(NamedTuple):
    """Medians of several requests for one model."""

    wall: float
    device: float
    stages: str
    """What the models did in the last request, for people."""


def timed(models: tuple[str, str], arguments: argparse.Namespace) -> tuple[Timed, Timed]:
    """The second model alone, and the cascade of both."""
    cards = [ModelCard(id=model, path=checkpoint(model, arguments.folder)) for model in models]
    cascade, texts = _cascade(models[0], arguments.keep, models[1]), documents(arguments.documents)
    with _running(arguments.folder, *cards, cascade) as engine:
        runs = [
            [_request(engine, model, texts) for model in (models[1], cascade.id)] for _ in range(arguments.repeat + 1)
        ]
    # the first one loads and warms up
    alone, both = zip(*runs[1:], strict=True)
    return _medians(alone), _medians(both)


def _request(engine: _Engine, model: str, texts: Sequence[str]) -> Timed:
    began = time.perf_counter()
    stages = engine.ask(model, QUERY, texts).stages
    seconds = time.perf_counter() - began
    said = [
        f"{stage.model}: {stage.documents} documents, {stage.tokens} tokens, {stage.seconds:.3f} s" for stage in stages
    ]
    return Timed(seconds, sum(stage.seconds for stage in stages), "; ".join(said))


def _medians(runs: Sequence[Timed]) -> Timed:
    wall, device = (statistics.median(column) for column in ([run.wall for run in runs], [run.device for run in runs]))
    return Timed(wall, device, runs[-1].stages)


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    if options.data:
        judged = read(options.data, options.queries, options.candidates)
        print(
            f"{len(judged.candidates)} queries, {options.candidates} candidates each, the cascade keeps {options.keep}"
        )
        for model, found in quality(judged, options.keep, options.folder):
            print(f"{model:<40} NDCG@10 {found:.4f}", flush=True)
        return
    alone, both = timed((options.first, options.model), options)
    for name, run in (("alone", alone), ("cascade", both)):
        print(f"{name:<8} {run.wall:.3f} s, of the stages {run.device:.3f} s   ({run.stages})")
    print(f"ratio: x {both.wall / alone.wall:.3f}, of the stages x {both.device / alone.device:.3f}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of a judged set, to measure quality")
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--keep", type=int, default=30, help="documents that the second stage scores")
    parser.add_argument("--model", choices=SIZES, default="bge-base")
    parser.add_argument("--first", choices=SIZES, default="minilm", help="first stage of the cascade")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
