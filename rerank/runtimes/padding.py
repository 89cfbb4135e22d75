"""Token ids of a batch as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rerank.runtimes.base import TokenIds


def pad(batch: Sequence[TokenIds], pad_id: int, *, segments: bool, left: bool = False) -> dict[str, torch.Tensor]:
    """int64 tensors of shape (pairs, longest pair): ``input_ids``, ``attention_mask``, with ``segments`` their ids."""
    longest = max(sequence.tokens for sequence in batch)

    def rectangle(rows: list[tuple[int, ...]], filler: int) -> torch.Tensor:
        filled = []
        for row in rows:
            padding = (filler,) * (longest - len(row))
            filled.append(padding + row if left else row + padding)
        return torch.tensor(filled, dtype=torch.long)

    tensors = {
        "input_ids": rectangle([sequence.input_ids for sequence in batch], pad_id),
        "attention_mask": rectangle([(1,) * sequence.tokens for sequence in batch], 0),
    }
    if segments:
        tensors["token_type_ids"] = rectangle([sequence.type_ids for sequence in batch], 0)
    return tensors


def example_ids(names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Padded inputs of these names to trace a network with."""
    return {name: torch.ones(2, 7, dtype=torch.long) for name in names}
