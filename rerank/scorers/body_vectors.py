"""Networks that give vectors of a body's tokens: those of the first ones, their means, or all."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.segments import PackedBatch, TokenRow
from rerank.runtimes.torch_packed import means


class Walk(Protocol):
    """The loop over the layers of a body, a module of torch.

    One that reads no packed batches has no ``in_spans``, and one of which no single token is read no ``first_tokens``.
    """

    def in_rectangle(self, rectangle: Rectangle) -> Any:
        """How its layers attend in a rectangle."""
        ...

    def in_spans(self, batch: PackedBatch) -> Any:
        """How they attend in a packed batch."""
        ...

    def all_tokens(self, row: TokenRow, attention: Any) -> torch.Tensor:
        """Vectors of shape (tokens, hidden)."""
        ...

    def first_tokens(self, row: TokenRow, read_at: torch.Tensor, attention: Any) -> torch.Tensor:
        """Vectors of shape (answers, hidden), of the tokens in the rows ``read_at``."""
        ...


class _Network(nn.Module):
    def __init__(self, walk: Any) -> None:
        """``walk`` is a ``Walk``."""
        super().__init__()
        self.walk = walk


class FirstTokenVector(_Network):
    """The vector of each sequence's first token."""

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        read_at: torch.Tensor,
        rows: torch.Tensor,
        places: torch.Tensor,
        lengths: torch.Tensor,
        type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor]:
        """Vectors of shape (answers, hidden); see ``token_rows`` and ``Rectangle`` for the inputs."""
        attention = self.walk.in_rectangle(Rectangle(rows, places, lengths))
        return (self.walk.first_tokens(TokenRow(input_ids, positions, type_ids), read_at, attention),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        vectors: torch.Tensor = self.walk.first_tokens(batch.row, batch.read_at, self.walk.in_spans(batch))
        return vectors


class TokenVectors(_Network):
    """The vectors of all tokens."""

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        places: torch.Tensor,
        lengths: torch.Tensor,
        type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor]:
        """Vectors of the shape that ``read`` says; see ``token_rows`` and ``Rectangle`` for the inputs."""
        rectangle = Rectangle(rows, places, lengths)
        row = TokenRow(input_ids, positions, type_ids)
        return (self.read(self.walk.all_tokens(row, self.walk.in_rectangle(rectangle)), rectangle),)

    def read(self, states: torch.Tensor, rectangle: Rectangle) -> torch.Tensor:
        """Of shape (tokens, hidden)."""
        del rectangle
        return states

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        vectors: torch.Tensor = self.walk.all_tokens(batch.row, self.walk.in_spans(batch))
        return vectors


class MeanVector(TokenVectors):
    """The mean of the vectors of each sequence's tokens."""

    def read(self, states: torch.Tensor, rectangle: Rectangle) -> torch.Tensor:
        """Of shape (sequences, hidden)."""
        return rectangle.mean(states)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        return means(super().packed(batch), batch.spans)
