"""Token ids of a batch as padded arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy

from rerank.runtimes.base import TokenIds
from rerank.runtimes.ids import Ids


def pad(batch: Sequence[TokenIds], pad_id: int, *, segments: bool, left: bool = False) -> dict[str, numpy.ndarray]:
    """int64 arrays of shape (pairs, longest pair): ``input_ids``, ``attention_mask``, with ``segments`` their ids."""
    arrays = {
        "input_ids": _rectangle([sequence.input_ids for sequence in batch], pad_id, left=left),
        "attention_mask": _rectangle([Ids.of([1]) * sequence.tokens for sequence in batch], 0, left=left),
    }
    if segments:
        arrays["token_type_ids"] = _rectangle([sequence.type_ids for sequence in batch], 0, left=left)
    return arrays


def _rectangle(rows: Sequence[Ids], filler: int, *, left: bool) -> numpy.ndarray:
    longest = max(map(len, rows))
    filled = numpy.full((len(rows), longest), filler, numpy.int64)
    for place, row in enumerate(rows):
        filled[place, slice(longest - len(row), None) if left else slice(len(row))] = row.numbers
    return filled


def example_ids(names: Sequence[str]) -> dict[str, numpy.ndarray]:
    """Padded inputs of these names to trace a network with."""
    return {name: numpy.ones((2, 7), numpy.int64) for name in names}
