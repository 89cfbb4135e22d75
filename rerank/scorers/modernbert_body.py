"""Body of ModernBERT, down to the first token's vector, the mean of all, or all of them.

As in ``bert_body`` the loop over the layers is implemented here. Some layers see the whole sequence, the others a
window of tokens, each kind with rotary positions of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

from rerank.runtimes.base import Attend
from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.segments import PackedBatch, TokenRow
from rerank.runtimes.torch_packed import attention_in, means
from rerank.runtimes.windows import Windows
from rerank.scorers.rotary import Angles, Turn, turned

_WHOLE, _WINDOW = "full_attention", "sliding_attention"
Attention = Mapping[str, Attend]
"""How each kind of layer attends."""


class _Body(nn.Module):
    """A ModernBertModel as a function of tokens in one row."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        config = body.config
        self.embeddings, self.layers, self.norm = body.embeddings, body.layers, body.final_norm
        self.kinds = tuple(config.layer_types)
        self.heads, self.reach = int(config.num_attention_heads), int(config.local_attention) // 2
        self.angles = nn.ModuleDict(
            {
                kind: Angles(partial(body.rotary_emb, layer_type=kind), config.max_position_embeddings, body.dtype)
                for kind in set(self.kinds)
            }
        )

    def _in_rectangle(self, rectangle: Rectangle) -> Attention:
        attention = {_WHOLE: rectangle.attend}
        return attention | {_WINDOW: Windows(rectangle, self.reach).attend} if _WINDOW in self.kinds else attention

    def _in_spans(self, batch: PackedBatch) -> Attention:
        near = attention_in(batch.spans, (self.reach, self.reach))
        return {_WHOLE: attention_in(batch.spans), _WINDOW: near}

    def _turns(self, positions: torch.Tensor) -> dict[str, Turn]:
        return {kind: angles(positions) for kind, angles in self.angles.items()}

    def _walk(self, row: TokenRow, attention: Attention, layers: int) -> torch.Tensor:
        """All tokens after so many layers."""
        states: torch.Tensor = self.embeddings(input_ids=row.input_ids)
        turns = self._turns(row.positions)
        for layer, kind in zip(self.layers[:layers], self.kinds, strict=False):
            heads = self._heads(layer, layer.attn_norm(states))
            query, key = turned(heads[:, : 2 * self.heads], turns[kind]).chunk(2, dim=1)
            states = _after(layer, states, attention[kind](query, key, heads[:, 2 * self.heads :]))
        return states

    def _heads(self, layer: Any, states: torch.Tensor, first: int = 0, last: int = 3) -> torch.Tensor:
        """Queries, keys and values, or some of these three, one after another: (tokens, parts x heads, size)."""
        product, hidden = layer.attn.Wqkv, states.shape[-1]
        rows = slice(first * hidden, last * hidden)
        bias = None if product.bias is None else product.bias[rows]
        return linear(states, product.weight[rows], bias).view(states.shape[0], (last - first) * self.heads, -1)


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
    ) -> tuple[torch.Tensor]:
        """Vectors of shape (answers, hidden); see ``token_rows`` and ``Rectangle`` for the inputs."""
        rectangle = Rectangle(rows, places, lengths)
        row = TokenRow(input_ids, positions)
        return (self._read(row, read_at, self._in_rectangle(rectangle), rectangle.attend_once),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        return self._read(batch.row, batch.read_at, self._in_spans(batch), attention_in(batch.read_spans))

    def _read(self, row: TokenRow, read_at: torch.Tensor, attention: Attention, attend_once: Attend) -> torch.Tensor:
        """``attend_once`` is the last layer's, where one token per sequence attends, if it sees the whole sequence."""
        whole = self.kinds[-1] == _WHOLE
        states = self._walk(row, attention, len(self.layers) - whole)
        states = self._last(states, row.positions, read_at, attend_once) if whole else states.index_select(0, read_at)
        vectors: torch.Tensor = self.norm(states)
        return vectors

    def _last(
        self, states: torch.Tensor, positions: torch.Tensor, read_at: torch.Tensor, attend_once: Attend
    ) -> torch.Tensor:
        layer, angles = self.layers[-1], self.angles[_WHOLE]
        normed = layer.attn_norm(states)
        query = self._heads(layer, normed.index_select(0, read_at), 0, 1)
        key, value = self._heads(layer, normed, 1, 3).chunk(2, dim=1)
        query, key = turned(query, angles(positions.index_select(0, read_at))), turned(key, angles(positions))
        return _after(layer, states.index_select(0, read_at), attend_once(query, key, value))


class TokenVectors(_Body):
    """The vectors of all tokens."""

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        places: torch.Tensor,
        lengths: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        """Vectors of shape (tokens, hidden); see ``token_rows`` and ``Rectangle`` for the inputs."""
        return (self._tokens(TokenRow(input_ids, positions), self._in_rectangle(Rectangle(rows, places, lengths))),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        return self._tokens(batch.row, self._in_spans(batch))

    def _tokens(self, row: TokenRow, attention: Attention) -> torch.Tensor:
        vectors: torch.Tensor = self.norm(self._walk(row, attention, len(self.layers)))
        return vectors


class MeanVector(TokenVectors):
    """The mean of the vectors of each sequence's tokens."""

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        rows: torch.Tensor,
        places: torch.Tensor,
        lengths: torch.Tensor,
    ) -> tuple[torch.Tensor]:
        """Vectors of shape (sequences, hidden); see ``token_rows`` and ``Rectangle`` for the inputs."""
        rectangle = Rectangle(rows, places, lengths)
        return (rectangle.mean(self._tokens(TokenRow(input_ids, positions), self._in_rectangle(rectangle))),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        return means(super().packed(batch), batch.spans)


def _after(layer: Any, states: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Tokens after a layer, from those before it and what its attention saw."""
    states = states + layer.attn.Wo(seen.flatten(1))
    result: torch.Tensor = states + layer.mlp(layer.mlp_norm(states))
    return result
