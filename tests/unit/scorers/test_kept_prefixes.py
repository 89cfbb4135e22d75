"""Keys and values of prefixes are kept for the next batches, up to a number of bytes."""

from __future__ import annotations

import numpy

from rerank.runtimes.base import Inputs, Values
from rerank.runtimes.ids import Ids
from rerank.scorers.causal.prompt import Prompt
from rerank.scorers.causal.vectors import RectanglePrompts
from rerank.scorers.pretrained import Config

CONFIG = {"model_type": "qwen3", "num_hidden_layers": 1, "num_key_value_heads": 1, "head_dim": 4}
TOKEN_BYTES = 2 * 4 * 4


class Noting:
    """Computes nothing; notes how many tokens it was to keep."""

    device, precision, description = "cpu", "fp32", "noting"

    def __init__(self) -> None:
        self.kept: list[int] = []

    def __call__(self, inputs: Inputs) -> tuple[Values, ...]:
        count = len(inputs["kept"])
        if count:
            self.kept.append(count)
        return numpy.zeros((len(inputs["read_at"]), 4)), numpy.zeros((1, 2, count, 1, 4), numpy.float32)


def computed(kept_bytes: int, *prefixes: tuple[int, ...]) -> list[int]:
    """Lengths of the prefixes that were computed, for batches with one prefix each."""
    runtime = Noting()
    vectors = RectanglePrompts(runtime, Ids(), Config(CONFIG), kept_bytes)
    for prefix in prefixes:
        vectors([Prompt(Ids.of(prefix), Ids.of([document]), sharers=2) for document in (7, 8)])
    return runtime.kept


A, B, C = (1,), (2, 2), (3, 3, 3)


def test_a_prefix_that_is_kept_is_not_computed_again() -> None:
    assert computed(6 * TOKEN_BYTES, A, B, C, A, B, C) == [1, 2, 3]


def test_the_prefix_used_longest_ago_gives_way() -> None:
    assert computed(5 * TOKEN_BYTES, A, B, A, C, A) == [1, 2, 3]
    assert computed(5 * TOKEN_BYTES, A, B, A, C, B) == [1, 2, 3, 2]


def test_the_newest_prefix_is_kept_however_large() -> None:
    assert computed(0, C, C, A, C) == [3, 1, 3]
