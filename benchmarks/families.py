"""Every kind of model in this engine, against its floor, and encoders against sentence-transformers; no HTTP.

    python -m benchmarks.families --models bge-base zerank-1-small --documents 20 --repeat 3

One query and mixed documents; causal rerankers are asked in their own prompts. Prints for each model the floors: the
matrix products of its layers alone, at the rate measured for its own shapes in each round; of causal rerankers also for
the tokens that are left when what the prompts share is read once. Then for each contestant seconds (median of the
rounds, which take turns), the ratio to the first, how far the logits are apart, and the ratios to the floors.

While a model is converted it takes 2.5 times its weights in fp32: 17 GB for zerank-1-small, and 25 GB for
bge-reranker-v2-gemma, which is measured only if it is named.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import torch

from benchmarks.alone import engine_alone
from benchmarks.causal_checkpoints import CAUSAL_SIZES, PROMPTS, RECIPES
from benchmarks.contestants import NATIVE
from benchmarks.floor import DTYPES
from benchmarks.processes import NotAvailableError
from benchmarks.qwen3 import MAX_LENGTH, count
from benchmarks.turns import Turns, take_turns
from benchmarks.workload import QUERY, SIZES, Score, checkpoint, documents, token_count
from rerank.catalog.cards import ModelCard
from rerank.core import Pair, Truncation
from rerank.scheduling.batching import CPU_BATCH, BatchBudget
from rerank.scorers.base import finish
from rerank.scorers.causal.prompt import PromptTokenizer

ENCODERS = ("bge-base", "modernbert-base", "deberta-v3-base", "ettin-32m", "minilm")
_TOO_LARGE = "bge-reranker-v2-gemma"
MODELS = (*ENCODERS, "qwen3-0.6b", *(name for name in RECIPES if name != _TOO_LARGE))
_PEER = "sentence-transformers"
_PEER_PRECISIONS = tuple(dict.fromkeys(("fp32", NATIVE)))
"""fp32 is its default; bf16 is slow on a CPU without it."""
_WHOLE, _SHARED = "", ", the prefix read once"


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    for model in options.models:
        try:
            compare(model, options)
        except NotAvailableError as error:
            print(f"{model} is not available: {error}", flush=True)


def compare(model: str, options: argparse.Namespace) -> None:
    """Print a model's floors and every contestant."""
    folder = checkpoint(model, options.folder)
    pairs = [Pair(QUERY, document) for document in documents(options.documents)]
    tokens = tokens_read(model, folder, pairs)
    numbers = "; ".join(f"{number} tokens{how}" for how, number in tokens.items())
    print(f"{model}: {len(pairs)} pairs; {numbers}; {torch.get_num_threads()} threads", flush=True)
    peers = _PEER_PRECISIONS if model in SIZES and _PEER in options.only else ()
    precisions = [*dict.fromkeys((*peers, *options.precisions))]
    turns = take_turns(folder, precisions, partial(contestants, folder, options), pairs, options.repeat)
    for line in report(folder, turns, tokens):
        print(line, flush=True)


def tokens_read(model: str, folder: Path, pairs: Sequence[Pair]) -> dict[str, int]:
    """Tokens that the model has to read, by how it reads them."""
    if model in SIZES:
        return {_WHOLE: token_count(model, [pair.document for pair in pairs])}
    facts = (CAUSAL_SIZES | RECIPES)[model]
    tokenizer = PromptTokenizer(folder, PROMPTS[model], MAX_LENGTH)
    prompts = finish(tokenizer.reading(pairs, Truncation(), PROMPTS[model].instruction))
    tokens = count(prompts, len(tokenizer.system))
    # tokens of NVIDIA's Llama see one another, so that nothing can be shared
    return {_WHOLE: tokens.whole} | ({} if facts["kind"] == "llama" else {_SHARED: tokens.shared})


def contestants(
    folder: Path, options: argparse.Namespace, precision: str
) -> Iterator[tuple[str, AbstractContextManager[Score]]]:
    """Name and opener of each, for one precision."""
    if folder.name in SIZES and _PEER in options.only and precision in _PEER_PRECISIONS:
        yield f"{_PEER} {precision}", sentence_transformers(folder, precision)
    if "ours" in options.only and precision in options.precisions:
        budget = BatchBudget(options.batch, CPU_BATCH.tokens)
        yield f"ours {precision}", engine_alone(folder, precision, folder.parent, card_of(folder.name), budget)


def card_of(model: str) -> ModelCard:
    """A card with the prompt, where there is one."""
    if model in SIZES:
        return ModelCard(model)
    return ModelCard(model, max_length=MAX_LENGTH, prompt=PROMPTS[model])


@contextmanager
def sentence_transformers(folder: Path, precision: str) -> Iterator[Score]:
    """CrossEncoder.predict with its default batch size."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": DTYPES[precision]})

    def run(pairs: Sequence[Pair]) -> list[float]:
        texts = [(pair.query, pair.document) for pair in pairs]
        logits: list[float] = model.predict(texts, activation_fn=torch.nn.Identity()).tolist()
        return logits

    yield run


def report(folder: Path, turns: Turns, tokens: Mapping[str, int]) -> Iterator[str]:
    """A line for each floor and each contestant."""
    for precision in turns.rates:
        floors = turns.floors(folder, precision, tokens.values())
        written = "; ".join(f"{floor:.2f} s{how}" for how, floor in zip(tokens, floors, strict=True))
        yield f"floor {precision}: {written} ({turns.rate(precision) / 1e12:.2f} TFLOP/s)"
    for name, line in turns.lines():
        floors = turns.floors(folder, name.rpartition(" ")[-1], tokens.values())
        shares = (
            f"{turns.median(name) / floor:.2f} x the floor{how}" for how, floor in zip(tokens, floors, strict=True)
        )
        yield f"{line}   {'; '.join(shares)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = (*SIZES, *CAUSAL_SIZES, *RECIPES)
    parser.add_argument("--models", choices=known, nargs="+", default=MODELS)
    parser.add_argument("--documents", type=int, default=20)
    parser.add_argument("--precisions", choices=DTYPES, nargs="+", default=[NATIVE], help="of this engine")
    parser.add_argument("--only", choices=(_PEER, "ours"), nargs="+", default=[_PEER, "ours"])
    parser.add_argument("--batch", type=int, default=CPU_BATCH.pairs, help="pairs per batch, for ours")
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
