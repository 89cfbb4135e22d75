"""Bodies that padding changes: which sequences share a batch of theirs, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy

from rerank.catalog.checkpoint import Checkpoint
from rerank.errors import ModelUnsupported
from rerank.runtimes.base import TokenIds, Values, library

_MIXING = frozenset(("canine", "convbert", "fnet", "funnel", "nystromformer", "yoso"))
"""Types that mix what is padding into what is not, whatever their attention leaves out."""
_COUNTING = frozenset(("biogpt", "ctrl", "gpt2", "gpt_bigcode", "gpt_neo", "openai-gpt"))
"""Types that count positions from the padding before a text."""
_SPARSE = ("big_bird", "bigbird_pegasus")


def sees_padding(model_type: str, *, before: bool = False) -> bool:
    """True if padding behind a text, or ``before`` it, changes what a body of this type computes."""
    return model_type in _MIXING or (before and model_type in _COUNTING)


def by_length(batch: Sequence[TokenIds], run: Callable[[Sequence[TokenIds]], Values]) -> Values:
    """What ``run`` gives for the batch, in its order, from sequences of one length at a time."""
    places: dict[int, list[int]] = {}
    for place, sequence in enumerate(batch):
        places.setdefault(sequence.tokens, []).append(place)
    parts = [run([batch[place] for place in alike]) for alike in places.values()]
    order = numpy.argsort(list(chain.from_iterable(places.values()))).tolist()
    return library(parts[0]).concatenate(parts)[order]


def refuse_changing(checkpoint: Checkpoint, length: int) -> None:
    """Raise ModelUnsupported for a body whose numbers depend on chance, or on texts that it read before."""
    config, name = checkpoint.config, checkpoint.folder.name
    kind = config.get("model_type")
    if kind == "reformer":
        raise ModelUnsupported(
            f"{name} is a Reformer, which sorts tokens by chance: the score of a pair changes from call to call. "
            "Use another reranker, such as BAAI/bge-reranker-v2-m3."
        )
    whole = (5 + 2 * int(config.get("num_random_blocks", 3))) * int(config.get("block_size", 64))
    if kind in _SPARSE and config.get("attention_type", "block_sparse") == "block_sparse" and length > whole:
        raise ModelUnsupported(
            f"{name} is a BigBird, which computes texts of more than {whole} tokens in blocks only until it reads "
            f"a shorter one: `max_length = {whole}` in its card in models.toml has all texts computed whole."
        )
