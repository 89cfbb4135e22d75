"""Rotary positions of bodies that are walked through here.

Transformers turns number i of a head together with number i of its second half. Packed networks hold the two next to
each other, the rows of their weights in that order: then a GPU turns a pair as one integer, in one operation.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn

from rerank.scorers.fused import OneOperation


class Turn(NamedTuple):
    """Cosines and sines of tokens' positions, both of shape (tokens, 1, size)."""

    cosines: torch.Tensor
    sines: torch.Tensor

    def at(self, rows: torch.Tensor) -> Turn:
        """Of some of the tokens."""
        return Turn(self.cosines.index_select(0, rows), self.sines.index_select(0, rows))


class PairTurn(NamedTuple):
    """Of each pair of numbers the cosine and the sine, one after the other, of shape (tokens, 1, size)."""

    angles: torch.Tensor

    def at(self, rows: torch.Tensor) -> PairTurn:
        """Of some of the tokens."""
        return PairTurn(self.angles.index_select(0, rows))


class Angles(nn.Module):
    """Tables of cosines and sines, so that angles of positions are fp32 in every precision of the network."""

    def __init__(self, rotary: Any, positions: int, dtype: torch.dtype) -> None:
        """``rotary`` is transformers' own module, which takes states and positions; the tables are in ``dtype``."""
        super().__init__()
        cosines, sines = rotary(torch.zeros(1, dtype=dtype), torch.arange(positions)[None])
        self.cosines, self.sines = nn.Buffer(cosines[0]), nn.Buffer(sines[0])

    def forward(self, positions: torch.Tensor) -> Turn:
        """The turn of tokens at these positions, int64."""
        return Turn(self.cosines[positions].unsqueeze(-2), self.sines[positions].unsqueeze(-2))


class PairAngles(nn.Module):
    """The same for pairs."""

    def __init__(self, angles: Any) -> None:
        """``angles`` are an ``Angles``."""
        super().__init__()
        half = angles.cosines.shape[1] // 2
        self.pairs = nn.Buffer(torch.stack((angles.cosines, angles.sines), dim=-1)[:, :half].flatten(1))

    def forward(self, positions: torch.Tensor) -> PairTurn:
        """The turn of tokens at these positions, int64."""
        return PairTurn(self.pairs[positions].unsqueeze(-2))


def turned(states: torch.Tensor, turn: Turn | PairTurn) -> torch.Tensor:
    """Each head turned by the position's angles; of shape (tokens, heads, size)."""
    if isinstance(turn, PairTurn):
        turn_pairs = _IN_ONE.get(states.dtype, _turned_pairs)
        return turn_pairs(states, turn.angles)
    first, second = states.chunk(2, dim=states.dim() - 1)
    if not states.is_cuda:
        # OpenVINO does these operations as one, if they are written like this
        return states * turn.cosines + torch.cat((second * -1.0, first), dim=-1) * turn.sines
    turned, half = states * turn.cosines, first.shape[-1]
    turned[..., :half].addcmul_(second, turn.sines[..., :half], value=-1)
    turned[..., half:].addcmul_(first, turn.sines[..., half:])
    return turned


def _turned_pairs(states: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    first, second = states[..., ::2], states[..., 1::2]
    cosines, sines = angles[..., ::2], angles[..., 1::2]
    return torch.stack((first * cosines - second * sines, second * cosines + first * sines), dim=-1).flatten(-2)


_TURN = """template <typename T> T turn(T pair, T angle) {
  float first = number(pair), second = number((unsigned)pair >> 16);
  float cosine = number(angle), sine = number((unsigned)angle >> 16);
  return bits(first * cosine - second * sine) | (bits(second * cosine + first * sine) << 16);
}"""
# between fp32 and the bits of a number in half precision, of which the lower 16 count
_OF_BF16 = """template <typename T> float number(T bits) { return __int_as_float(bits << 16); }
template <typename T> unsigned bits(T number) {
  unsigned exact = __float_as_int(number);
  if (number != number) return 0x7fc0;
  return (exact + 0x7fff + ((exact >> 16) & 1)) >> 16;
}
"""
_OF_FP16 = """template <typename T> float number(T bits) {
  float exact;
  asm("cvt.f32.f16 %0, %1;" : "=f"(exact) : "h"((unsigned short)bits));
  return exact;
}
template <typename T> unsigned bits(T number) {
  unsigned short nearest;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(nearest) : "f"(number));
  return nearest;
}
"""
_IN_ONE = {
    dtype: OneOperation(conversions + _TURN, _turned_pairs, (64, 2, 64), (64, 1, 64), pairs=True)
    for dtype, conversions in ((torch.bfloat16, _OF_BF16), (torch.float16, _OF_FP16))
}


@runtime_checkable
class Pairs(Protocol):
    """A body with rotary positions."""

    def pair_positions(self) -> None:
        """Put numbers next to each other that are turned together, in the network and in its angles."""
        ...


def pair_positions(network: nn.Module) -> None:
    """The same for all bodies in a network, unless they run on ROCm, where one operation was not tried."""
    if torch.version.hip is not None:
        return
    for module in network.modules():
        if isinstance(module, Pairs):
            module.pair_positions()


def pair_rows(product: nn.Module, size: int, rows: int | None = None) -> None:
    """The first ``rows`` of all parameters, or all rows, in the order of pairs; heads have ``size`` numbers."""
    with torch.no_grad():
        for parameter in product.parameters():
            halves = parameter[:rows].view(-1, 2, size // 2, *parameter.shape[1:])
            parameter[:rows] = halves.transpose(1, 2).flatten(0, 2)
