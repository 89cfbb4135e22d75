"""The engine on a GPU, against sentence-transformers or the model card's procedure on the same GPU in the same run.

    python -m benchmarks.gpu --models bge-base bge-large bge-v2-m3 qwen3-0.6b qwen3-4b qwen3-8b

Needs neither FastAPI nor OpenVINO. For each model and each length of documents: pairs and tokens a second of this
engine (one request; and the same when its texts were read before) and of its peer at its best batch size (there is none
for causal rerankers but Qwen3's), their ratio, the share of the floor (the matrix products of the layers alone, for
every token read, at the rate measured just before), and peak memory. Before that,
the packed batch is compared with the same network padded and in fp32; a difference above the tolerance ends with exit
status 1. On a CPU (``--device cpu``) it runs the same way, packed batches included, to be tried on tiny models.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import torch

from benchmarks.causal_checkpoints import CAUSAL_SIZES, PROMPTS, RECIPES
from benchmarks.floor import floor_seconds, products_rate
from benchmarks.model_card import model_card
from benchmarks.scheduled import local_backend, scheduler_of
from benchmarks.workload import QUERY, SIZES, BatchedScore, Score, checkpoint, documents, documents_of, other_pairs
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import Device, choose_device
from rerank.runtimes.products import wait
from rerank.scheduling.batching import GPU_BATCH, BatchBudget
from rerank.scorers import networks
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer

MAX_LENGTH = 8192
TOLERANCE = 5e-2
"""Of raw logits in half precision."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A contestant on one workload."""

    seconds: float
    peak_bytes: int


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    device = choose_device(options.device, options.precision, "torch")
    print(f"{device}, torch {torch.__version__}, {options.pairs} pairs, query of {len(QUERY.split())} tokens")
    apart = [measure_model(model, device, options) for model in options.models]
    return 0 if max(apart) <= TOLERANCE else 1


def measure_model(model: str, device: Device, options: argparse.Namespace) -> float:
    """Print every table of a model; returns how far its logits are from fp32."""
    with torch.device(device.name):
        folder = checkpoint(model, options.folder)
    free(device)
    rate = products_rate(folder, device.dtype, device.name)
    apart = difference(folder, device)
    print(f"\n{model}: {rate / 1e12:.1f} TFLOP/s in products, logits within {apart:.1e} of fp32 padded", flush=True)
    print(f"{'documents':>10} {'':<28} {'pairs/s':>9} {'tokens/s':>10} {'of peer':>8} {'of floor':>9} {'peak MB':>9}")
    for length in options.lengths:
        texts = documents(options.pairs) if length == "mixed" else documents_of(int(length), options.pairs)
        pairs = [Pair(QUERY, text) for text in texts]
        measure_workload(folder, length, pairs, device, options, rate)
    return apart


def measure_workload(
    folder: Path, length: str, pairs: list[Pair], device: Device, options: argparse.Namespace, rate: float
) -> None:
    """Ours, and the peer at the batch size that suits it best."""
    tokens, measured = measure_ours(folder, pairs, device, options)
    free(device)
    if folder.name not in RECIPES:
        measured |= measure_peer(folder, pairs, device, options)
        free(device)
    last = [*measured.values()][-1]
    for name, run in measured.items():
        if run is None:
            print(f"{length:>10} {name:<28} out of memory")
            continue
        against = last.seconds / run.seconds if last is not None else float("nan")
        floor = floor_seconds(folder, tokens, rate) / run.seconds
        print(
            f"{length:>10} {name:<28} {len(pairs) / run.seconds:>9.1f} {tokens / run.seconds:>10.0f} "
            f"{against:>8.2f} {floor:>9.2f} {run.peak_bytes / 1e6:>9.0f}",
            flush=True,
        )


def measure_ours(
    folder: Path, pairs: list[Pair], device: Device, options: argparse.Namespace
) -> tuple[int, dict[str, Measured | None]]:
    """Tokens of all pairs, and this engine."""
    scorer = packed_scorer(folder, device)
    encoded = scorer.encode(pairs)
    budget = BatchBudget(GPU_BATCH.pairs, options.batch_tokens)
    with local_backend(scorer, budget, device.name) as run:
        whole = timed(run, pairs, device, options.repeat)
    with scheduler_of(budget, device.name) as scheduler:
        read = timed(lambda _: scheduler.submit((scorer,), encoded).future.result(), pairs, device, options.repeat)
    return sum(pair.tokens for pair in encoded), {"ours": whole, "ours, texts read before": read}


def measure_peer(
    folder: Path, pairs: list[Pair], device: Device, options: argparse.Namespace
) -> dict[str, Measured | None]:
    """The peer at the batch size that was fastest in a single run; None if all of them were too large."""
    seconds: dict[int, float] = {}
    with peer(folder, device) as (name, run):
        for batch in options.peer_batches:
            try:
                run(pairs[:batch], batch)
                seconds[batch] = timed(in_batches(run, batch), pairs, device, 1, warm=True).seconds
            except torch.OutOfMemoryError:
                free(device)
        if not seconds:
            return {name: None}
        best = min(seconds, key=seconds.__getitem__)
        measured = timed(in_batches(run, best), pairs, device, options.repeat, warm=True)
        return {f"{name}, batches of {best}": measured}


def in_batches(run: BatchedScore, batch: int) -> Score:
    """The same, always in batches of this size."""
    return lambda pairs: run(pairs, batch)


def timed(run: Score, pairs: Sequence[Pair], device: Device, repeat: int, *, warm: bool = False) -> Measured:
    """The median of the runs, after one that warms up unless it is ``warm``, and the most memory any of them held.

    Each has texts of its own, of the same lengths.
    """
    if device.name.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device.name)
    if not warm:
        run(pairs)
    seconds = []
    for number in range(1, repeat + 1):
        others = other_pairs(pairs, number)
        wait(device.name)
        started = time.perf_counter()
        run(others)
        wait(device.name)
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated(device.name) if device.name.startswith("cuda") else 0
    return Measured(statistics.median(seconds), peak)


def packed_scorer(folder: Path, device: Device) -> Scorer:
    """The checkpoint on the device; on a CPU too in packed batches, which the server takes on a GPU only."""
    if not device.is_cpu:
        return scorer_on(folder, device)
    with mock.patch.object(networks, "runs_packed", return_value=True):
        return scorer_on(folder, device)


def scorer_on(folder: Path, device: Device) -> Scorer:
    """The checkpoint as the server loads it."""
    card = ModelCard(folder.name, max_length=MAX_LENGTH, prompt=PROMPTS.get(folder.name))
    return load_scorer(read_checkpoint(folder, card), card, Placement(device, folder.parent / ".openvino"))


def difference(folder: Path, device: Device) -> float:
    """The largest difference of raw logits between packed batches and the same network padded, in fp32."""
    pairs = [Pair(query, text) for query in (QUERY, QUERY[:20]) for text in documents(32, seed=1)]
    found: list[list[float]] = []
    for open_scorer, where in ((packed_scorer, device), (scorer_on, replace(device, precision="fp32"))):
        scorer = open_scorer(folder, where)
        found.append(score(scorer, scorer.encode(pairs)))
        del scorer
        free(device)
    packed, exact = found
    return max(abs(one - other) for one, other in zip(packed, exact, strict=True))


@contextmanager
def peer(folder: Path, device: Device) -> Iterator[tuple[str, BatchedScore]]:
    """What people run today: sentence-transformers for encoders, the model card's procedure for Qwen3-Reranker."""
    if folder.name in CAUSAL_SIZES:
        with model_card(folder, device.dtype, MAX_LENGTH, device.name) as run:
            yield "model card", run
        return
    from sentence_transformers import CrossEncoder

    # as many tokens as ours reads
    length = min(MAX_LENGTH, read_checkpoint(folder).max_positions or MAX_LENGTH)
    model = CrossEncoder(str(folder), device=device.name, model_kwargs={"dtype": device.dtype}, max_length=length)

    def predict(pairs: Sequence[Pair], batch: int) -> list[float]:
        texts = [(pair.query, pair.document) for pair in pairs]
        logits: list[float] = model.predict(texts, batch_size=batch, show_progress_bar=False).tolist()
        return logits

    yield "sentence-transformers", predict


def free(device: Device) -> None:
    """Give back what the last contestant held."""
    gc.collect()
    if device.name.startswith("cuda"):
        torch.cuda.empty_cache()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = (*SIZES, *CAUSAL_SIZES, *RECIPES)
    wanted = ["bge-base", "bge-large", "bge-v2-m3", "qwen3-0.6b", "qwen3-4b", "qwen3-8b"]
    parser.add_argument("--models", choices=sizes, nargs="+", default=wanted)
    parser.add_argument("--lengths", nargs="+", default=["64", "256", "512", "mixed"], help="words of a document")
    parser.add_argument("--pairs", type=int, default=2048)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp16", "fp32"))
    parser.add_argument("--batch-tokens", type=int, default=GPU_BATCH.tokens, help="tokens a batch, for ours")
    parser.add_argument("--peer-batches", type=int, nargs="+", default=[32, 128, 512], help="pairs a batch, for peers")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
