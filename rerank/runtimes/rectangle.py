"""Sequences end to end, as in a packed batch, which only attention sees as a rectangle with one sequence per row.

Outside CUDA attention takes only rectangles. All other layers, nearly all of the work, get no padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy

from rerank.runtimes.base import Runtime, Values
from rerank.runtimes.segments import Segment, token_rows

if TYPE_CHECKING:
    import torch

KERNEL = "sdpa attention"
"""The attention kernel of a rectangle, to be displayed."""


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Where each token of a batch stands in a rectangle. Can be traced, for any number of tokens and rows."""

    rows: torch.Tensor
    """Which token stands at each place, int64, shape (sequences, longest); past a sequence's end, any."""
    places: torch.Tensor
    """At which place each token stands, counted row by row, int64, shape (tokens)."""
    lengths: torch.Tensor
    """Tokens of each sequence that are attended to, from its start, int64, shape (sequences)."""

    def spread(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens, ...) to (sequences, longest, ...)."""
        return states.index_select(0, self.rows.flatten()).view(*self.rows.shape, *states.shape[1:])

    def gather(self, states: torch.Tensor) -> torch.Tensor:
        """(sequences, longest, heads, size) to (tokens, heads, size)."""
        return states.flatten(0, 1).index_select(0, self.places)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of each token to its whole sequence; all of shape (tokens, heads, size)."""
        from torch.nn.functional import scaled_dot_product_attention

        query, key, value = (self.spread(states).transpose(1, 2) for states in (query, key, value))
        attended = scaled_dot_product_attention(query, key, value, attn_mask=self.real())
        return self.gather(attended.transpose(1, 2))

    def attend_once(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attention of one query a sequence, of shape (sequences, heads, size), to its whole sequence."""
        from torch.nn.functional import scaled_dot_product_attention

        key, value = (self.spread(states).transpose(1, 2) for states in (key, value))
        return scaled_dot_product_attention(query[:, :, None], key, value, attn_mask=self.real())[:, :, 0]

    def mean(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) to their mean over each sequence, (sequences, hidden)."""
        # as a product, because products add up in fp32 even where everything else is half precision
        sums = self.real()[:, 0].to(states.dtype) @ self.spread(states)
        return sums[:, 0] / self.lengths[:, None]

    def real(self) -> torch.Tensor:
        """Where a row has a token that is attended to, of shape (sequences, 1, 1, longest)."""
        import torch

        return (torch.arange(self.rows.shape[1], device=self.rows.device) < self.lengths[:, None])[:, None, None]


def rectangle_inputs(segments: Sequence[Segment]) -> dict[str, numpy.ndarray]:
    """Inputs of a network that reads segments and attends in a rectangle; each segment stands for itself."""
    lengths = numpy.array([len(segment.input_ids) for segment in segments])
    places = numpy.arange(lengths.max())
    # past the end of the last sequence stands no token
    rows = numpy.minimum((lengths.cumsum() - lengths)[:, None] + places, lengths.sum() - 1)
    seen = numpy.array([segment.keys for segment in segments])
    layout = {"rows": rows, "places": numpy.flatnonzero(places < lengths[:, None]), "lengths": seen}
    # a network that reads no single token has no such input
    return {name: array for name, array in (token_rows(segments) | layout).items() if array.size}


class RectangleRuntime:
    """A network that reads segments, on any runtime."""

    padded = True

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.device = runtime.device
        self.precision = runtime.precision
        self.description = f"{runtime.description}, {KERNEL}"

    def __call__(self, segments: Sequence[Segment]) -> Values:
        """Vectors of shape (answers, hidden): one per segment, or of all tokens."""
        return self._runtime(rectangle_inputs(segments))[0]
