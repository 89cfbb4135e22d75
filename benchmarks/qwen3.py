"""Qwen3-Reranker's size: this engine against the model card's procedure, the same prompts, no HTTP.

    python -m benchmarks.qwen3 --model qwen3-0.6b --documents 20 --precisions fp32 bf16 --repeat 3

The model card (transformers, AutoModelForCausalLM) pads all prompts on the left into one batch, multiplies the whole
vocabulary at every position, and looks at the last. This engine reads what the prompts share once, and never multiplies
the vocabulary; ``--only ours apart`` compares it with itself reading the query again for each document. Prints seconds
(median of the rounds, which take turns), the ratio to the first contestant, how far the scores are apart, and the
floors: the matrix products of the layers alone for the tokens of whole prompts, for those that are left when only the
system text is read once, and when the whole shared prefix is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from benchmarks.alone import engine_alone
from benchmarks.causal_checkpoints import CAUSAL_SIZES
from benchmarks.contestants import NATIVE
from benchmarks.floor import DTYPES
from benchmarks.model_card import model_card
from benchmarks.turns import take_turns
from benchmarks.workload import QUERY, Score, checkpoint, documents
from rerank.catalog.cards import ModelCard
from rerank.catalog.prompts import QWEN3_RERANKER
from rerank.core import Pair, Truncation
from rerank.scheduling.batching import CPU_BATCH, BatchBudget
from rerank.scorers.base import finish
from rerank.scorers.causal import vectors
from rerank.scorers.causal.prompt import Prompt, PromptTokenizer

MAX_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens that a model has to read."""

    whole: int
    """Of all prompts."""
    apart: int
    """With the system text read once."""
    shared: int
    """With what they share read once."""


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    folder = checkpoint(options.model, options.folder)
    pairs = [Pair(QUERY, text) for text in documents(options.documents)]
    tokenizer = PromptTokenizer(folder, QWEN3_RERANKER, MAX_LENGTH)
    tokens = count(finish(tokenizer.reading(pairs, Truncation(), QWEN3_RERANKER.instruction)), len(tokenizer.system))
    print(
        f"{options.model}: {len(pairs)} pairs, {tokens.whole} tokens, {tokens.apart} with the system text read once, "
        f"{tokens.shared} with the prefix read once, {torch.get_num_threads()} threads"
    )
    turns = take_turns(folder, options.precisions, partial(contestants, folder, options), pairs, options.repeat)
    for precision in turns.rates:
        floors = turns.floors(folder, precision, (tokens.whole, tokens.apart, tokens.shared))
        written = ", ".join(f"{floor:.2f} s" for floor in floors)
        print(f"floor {precision}: {written} ({turns.rate(precision) / 1e12:.2f} TFLOP/s)")
    for _, line in turns.lines():
        print(line)


def count(prompts: Sequence[Prompt], system: int) -> Tokens:
    """Tokens of prompts that share one prefix, which begins with ``system`` tokens of the system text."""
    whole = sum(prompt.tokens for prompt in prompts)
    again = len(prompts) - 1
    return Tokens(whole, whole - again * system, whole - again * len(prompts[0].prefix))


def contestants(folder: Path, options: argparse.Namespace, precision: str) -> Iterator[tuple[str, Any]]:
    """Name and opener of each, for one precision."""
    if "card" in options.only and precision in DTYPES:
        yield f"model card {precision}", as_on_the_card(folder, precision, options)
    if "ours" in options.only:
        yield f"ours {precision}", engine(folder, precision, options)
    if "apart" in options.only:
        yield f"apart {precision}", query_with_each_document(folder, precision, options)


@contextmanager
def as_on_the_card(folder: Path, precision: str, options: argparse.Namespace) -> Iterator[Score]:
    """The model card's procedure."""
    with model_card(folder, DTYPES[precision], MAX_LENGTH) as run:
        yield lambda pairs: run(pairs, options.card_batch or options.documents)


def engine(folder: Path, precision: str, options: argparse.Namespace) -> AbstractContextManager[Score]:
    """This engine."""
    card = ModelCard(id=folder.name, max_length=MAX_LENGTH)
    budget = BatchBudget(options.batch, CPU_BATCH.tokens)
    return engine_alone(folder, precision, folder.parent, card, budget)


@contextmanager
def query_with_each_document(folder: Path, precision: str, options: argparse.Namespace) -> Iterator[Score]:
    """This engine, but that of the prefix it reads only the system text once."""
    with mock.patch.object(vectors, "_WORTH_SHARING", sys.maxsize), engine(folder, precision, options) as run:
        yield run


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=CAUSAL_SIZES, default="qwen3-0.6b")
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--precisions", choices=(*DTYPES, "int8"), nargs="+", default=[NATIVE])
    parser.add_argument("--only", choices=("card", "ours", "apart"), nargs="+", default=["card", "ours"])
    parser.add_argument("--batch", type=int, default=CPU_BATCH.pairs, help="pairs a batch, for ours")
    parser.add_argument("--card-batch", type=int, help="pairs a batch, for the model card's; default: all in one")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
