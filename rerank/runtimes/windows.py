"""Attention of each token to its neighbours in a row of sequences, block by block, without padding.

A block of the row sees itself and the blocks next to it, of which a mask leaves what is near and of the same sequence.
So the cost of a token does not grow with its sequence, nor with the longest of the batch.
"""

from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from rerank.runtimes.rectangle import Rectangle


class Windows:
    """Attention to what stands at most ``reach`` places away. Can be traced, for any number of tokens."""

    def __init__(self, rectangle: Rectangle, reach: int) -> None:
        # a sequence is a row of the rectangle
        longest = rectangle.rows.shape[1]
        sequences = rectangle.places // longest
        is_seen = rectangle.places - sequences * longest < rectangle.lengths[sequences]
        last = rectangle.places.shape[0] - 1
        starts = torch.arange(0, rectangle.places.shape[0], reach, device=sequences.device)[:, None]
        # the last block repeats the row's last token
        asking = (starts + torch.arange(reach, device=sequences.device)).clamp(max=last)
        near = starts + torch.arange(-reach, 2 * reach, device=sequences.device)
        seen = near.clamp(0, last)
        self._asking, self._seen = asking.flatten(), seen.flatten()
        self._blocks = asking.shape[0]
        self._mask = (
            ((asking[:, :, None] - near[:, None]).abs() <= reach)
            & (sequences[asking][:, :, None] == sequences[seen][:, None])
            & ((near == seen) & is_seen[seen])[:, None]
        )[:, None]

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of each token to its neighbours; all of shape (tokens, heads, size)."""
        asking, key, value = self._cut(query, self._asking), self._cut(key, self._seen), self._cut(value, self._seen)
        attended = scaled_dot_product_attention(asking, key, value, attn_mask=self._mask)
        return attended.transpose(1, 2).flatten(0, 1)[: query.shape[0]]

    def _cut(self, states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """(tokens, heads, size) to (blocks, heads, places per block, size)."""
        return states.index_select(0, places).view(self._blocks, -1, *states.shape[1:]).transpose(1, 2)
