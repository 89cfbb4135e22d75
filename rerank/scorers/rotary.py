"""Rotary positions of bodies that are walked through here."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

Turn = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines of tokens' positions, of shape (tokens, 1, size)."""


class Angles(nn.Module):
    """Tables of cosines and sines, so that angles of positions are fp32 in every precision of the network."""

    def __init__(self, rotary: Any, positions: int, dtype: torch.dtype) -> None:
        """``rotary`` is transformers' own module, which takes states and positions; the tables are in ``dtype``."""
        super().__init__()
        cosines, sines = rotary(torch.zeros(1, dtype=dtype), torch.arange(positions)[None])
        self.cosines, self.sines = nn.Buffer(cosines[0]), nn.Buffer(sines[0])

    def forward(self, positions: torch.Tensor) -> Turn:
        """The turn of tokens at these positions, int64."""
        return self.cosines[positions].unsqueeze(-2), self.sines[positions].unsqueeze(-2)


def turned(states: torch.Tensor, turn: Turn) -> torch.Tensor:
    """The two halves of each head turned by the position's angles; of shape (tokens, heads, size)."""
    cosines, sines = turn
    first, second = states.chunk(2, dim=states.dim() - 1)
    if not states.is_cuda:
        # OpenVINO does these operations as one, if they are written like this
        return states * cosines + torch.cat((second * -1.0, first), dim=-1) * sines
    turned = states * cosines
    half = first.shape[-1]
    turned[..., :half].addcmul_(second, sines[..., :half], value=-1)
    turned[..., half:].addcmul_(first, sines[..., half:])
    return turned
