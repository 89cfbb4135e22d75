"""Token ids of a batch as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rerank.runtimes.base import TokenIds


def pad(batch: Sequence[TokenIds], pad_id: int, *, segments: bool, left: bool = False) -> dict[str, torch.Tensor]:
    """int64 tensors of shape (pairs, longest pair): ``input_ids``, ``attention_mask``, with ``segments`` their ids."""
    tensors = {
        "input_ids": _rectangle([sequence.input_ids for sequence in batch], pad_id, left=left),
        "attention_mask": _rectangle([(1,) * sequence.tokens for sequence in batch], 0, left=left),
    }
    if segments:
        tensors["token_type_ids"] = _rectangle([sequence.type_ids for sequence in batch], 0, left=left)
    return tensors


def _rectangle(rows: Sequence[tuple[int, ...]], filler: int, *, left: bool) -> torch.Tensor:
    longest = max(map(len, rows))
    filled = []
    for row in rows:
        padding = (filler,) * (longest - len(row))
        filled.append(padding + row if left else row + padding)
    return torch.tensor(filled, dtype=torch.long)


def example_ids(names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Padded inputs of these names to trace a network with."""
    return {name: torch.ones(2, 7, dtype=torch.long) for name in names}
