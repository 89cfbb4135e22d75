"""Token ids of a batch as padded tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerBase

from rerank.scorers.tokens import TokenIds


def pad(batch: Sequence[TokenIds], tokenizer: PreTrainedTokenizerBase, device: str) -> dict[str, torch.Tensor]:
    """Tensors of shape (pairs, longest pair) under the names the model's tokenizer uses."""
    longest = max(sequence.tokens for sequence in batch)
    left = tokenizer.padding_side == "left"
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

    def rectangle(rows: list[tuple[int, ...]], filler: int) -> torch.Tensor:
        filled = []
        for row in rows:
            padding = (filler,) * (longest - len(row))
            filled.append(padding + row if left else row + padding)
        return torch.tensor(filled, dtype=torch.long).to(device)

    tensors = {
        "input_ids": rectangle([sequence.input_ids for sequence in batch], pad_id),
        "attention_mask": rectangle([(1,) * sequence.tokens for sequence in batch], 0),
    }
    if "token_type_ids" in tokenizer.model_input_names:
        tensors["token_type_ids"] = rectangle([sequence.type_ids for sequence in batch], 0)
    return tensors
