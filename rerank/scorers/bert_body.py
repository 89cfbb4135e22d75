"""BERT-like bodies, down to one vector per sequence: that of the first token, or the mean of all; or to all tokens'.

The layers are modules of transformers; the loop over them is implemented here for two reasons. Only attention sees
padding, and the last layer computes only the first token where no other is read.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from rerank.runtimes.base import Attend
from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.segments import PackedBatch, TokenRow
from rerank.runtimes.torch_packed import attention_in, means
from rerank.scorers.bert_kinds import BODIES, Parts
from rerank.scorers.rotary import Angles, Turn, turned


class Placed(NamedTuple):
    """Tokens' states, with the turn of their positions where those are rotary."""

    states: torch.Tensor
    turn: Turn | None

    def at(self, rows: torch.Tensor) -> Placed:
        """Some of the tokens."""
        turn = self.turn and (self.turn[0].index_select(0, rows), self.turn[1].index_select(0, rows))
        return Placed(self.states.index_select(0, rows), turn)


class _Layer(nn.Module):
    """One layer of any kind, its parts under the same names."""

    def __init__(self, layer: nn.Module, parts: Parts, heads: int) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (
            layer.get_submodule(path) for path in (parts.query, parts.key, parts.value, parts.out)
        )
        self.attention_norm = layer.get_submodule(parts.attention_norm)
        self.products = nn.Sequential(*(layer.get_submodule(path) for path in parts.products))
        self.norm = layer.get_submodule(parts.norm)
        self.heads = heads

    def forward(self, asking: Placed, seen: Placed, attend: Attend) -> torch.Tensor:
        """The layer for the tokens that are ``asking``, which attend to all that are ``seen``."""
        query, key = self._turned(self.query, asking), self._turned(self.key, seen)
        attended = attend(query, key, self._split(self.value(seen.states)))
        hidden = self.attention_norm(self.out(attended.flatten(1)) + asking.states)
        result: torch.Tensor = self.norm(self.products(hidden) + hidden)
        return result

    def _turned(self, product: nn.Module, tokens: Placed) -> torch.Tensor:
        heads = self._split(product(tokens.states))
        return heads if tokens.turn is None else turned(heads, tokens.turn)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) to (tokens, heads, size)."""
        return states.view(states.shape[0], self.heads, -1)


class _Body(nn.Module):
    """A model of a kind in ``BODIES``, without its head, as a function of tokens in one row."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        config = body.config
        parts = BODIES[config.model_type]
        self.embeddings = body.embeddings
        # a small ELECTRA's embeddings are narrower than its layers
        self.widened = getattr(body, "embeddings_project", None) or nn.Identity()
        layers: Any = body.get_submodule(parts.layers)
        self.layers = nn.ModuleList(_Layer(layer, parts, int(config.num_attention_heads)) for layer in layers)
        rotary = getattr(body, "rotary_emb", None)
        self.angles = Angles(rotary, config.max_position_embeddings, body.dtype) if rotary else None

    def _embed(self, row: TokenRow) -> Placed:
        given = {} if row.type_ids is None else {"token_type_ids": row.type_ids[None]}
        embedded = self.embeddings(input_ids=row.input_ids[None], position_ids=row.positions[None], **given)
        return Placed(self.widened(embedded[0]), self.angles(row.positions) if self.angles else None)


class FirstTokenVector(_Body):
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
        rectangle = Rectangle(rows, places, lengths)
        row = TokenRow(input_ids, positions, type_ids)
        return (self._walk(row, read_at, rectangle.attend, rectangle.attend_once),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        return self._walk(batch.row, batch.read_at, attention_in(batch.spans), attention_in(batch.read_spans))

    def _walk(self, row: TokenRow, read_at: torch.Tensor, attend: Attend, attend_once: Attend) -> torch.Tensor:
        """``attend_once`` is the last layer's, where one token per sequence attends."""
        tokens = self._embed(row)
        for layer in self.layers[:-1]:
            tokens = Placed(layer(tokens, tokens, attend), tokens.turn)
        vectors: torch.Tensor = self.layers[-1](tokens.at(read_at), tokens, attend_once)
        return vectors


class TokenVectors(_Body):
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
        """Vectors of shape (tokens, hidden); see ``token_rows`` and ``Rectangle`` for the inputs."""
        return (self._walk(TokenRow(input_ids, positions, type_ids), Rectangle(rows, places, lengths).attend),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        return self._walk(batch.row, attention_in(batch.spans))

    def _walk(self, row: TokenRow, attend: Attend) -> torch.Tensor:
        tokens = self._embed(row)
        for layer in self.layers:
            tokens = Placed(layer(tokens, tokens, attend), tokens.turn)
        return tokens.states


class MeanVector(TokenVectors):
    """The mean of the vectors of each sequence's tokens."""

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        places: torch.Tensor,
        lengths: torch.Tensor,
        type_ids: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor]:
        """Vectors of shape (sequences, hidden); see ``token_rows`` and ``Rectangle`` for the inputs."""
        rectangle = Rectangle(rows, places, lengths)
        return (rectangle.mean(self._walk(TokenRow(input_ids, positions, type_ids), rectangle.attend)),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        return means(super().packed(batch), batch.spans)
