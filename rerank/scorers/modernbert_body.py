"""Body of ModernBERT.

As in ``bert_body`` the loop over the layers is implemented here. Some layers see the whole sequence, the others a
window of tokens, each kind with rotary positions of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear

from rerank.runtimes.base import Attend
from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.segments import PackedBatch, TokenRow
from rerank.runtimes.torch_packed import attention_in
from rerank.runtimes.windows import Windows
from rerank.scorers.fused import added, gated
from rerank.scorers.rotary import Angles, PairAngles, PairTurn, Turn, pair_rows, turned

_WHOLE, _WINDOW = "full_attention", "sliding_attention"


class Attention(NamedTuple):
    """How the tokens of a batch attend."""

    each: Mapping[str, Attend]
    """By the kind of layer."""
    once: Attend
    """Where one token per sequence attends to the whole sequence."""


class Body(nn.Module):
    """A ModernBertModel as a function of tokens in one row; see ``Walk``."""

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

    def pair_positions(self) -> None:
        """See ``Pairs``."""
        self.angles = nn.ModuleDict({kind: PairAngles(angles) for kind, angles in self.angles.items()})
        for layer in self.layers:
            product: Any = layer.attn.Wqkv
            pair_rows(product, product.in_features // self.heads, rows=2 * product.in_features)

    def in_rectangle(self, rectangle: Rectangle) -> Attention:
        """See ``Walk``."""
        each = {_WHOLE: rectangle.attend}
        if _WINDOW in self.kinds:
            each[_WINDOW] = Windows(rectangle, self.reach).attend
        return Attention(each, rectangle.attend_once)

    def in_spans(self, batch: PackedBatch) -> Attention:
        """See ``Walk``."""
        near = attention_in(batch.spans, (self.reach, self.reach))
        return Attention({_WHOLE: attention_in(batch.spans), _WINDOW: near}, attention_in(batch.read_spans))

    def all_tokens(self, row: TokenRow, attention: Attention) -> torch.Tensor:
        """See ``Walk``."""
        vectors: torch.Tensor = self.norm(self._after_layers(len(self.layers), row, attention))
        return vectors

    def _after_layers(self, layers: int, row: TokenRow, attention: Attention) -> torch.Tensor:
        """All tokens after the first ``layers``."""
        states: torch.Tensor = self.embeddings(input_ids=row.input_ids)
        turns = {kind: angles(row.positions) for kind, angles in self.angles.items()}
        for layer, kind in zip(self.layers[:layers], self.kinds, strict=False):
            seen = attention.each[kind](*self._query_key_value(layer, layer.attn_norm(states), turns[kind]))
            states = _after(layer, states, seen)
        return states

    def _query_key_value(self, layer: Any, normed: torch.Tensor, turn: Turn | PairTurn) -> tuple[torch.Tensor, ...]:
        if normed.is_cuda:
            heads = self._heads(layer, normed)
            query, key = turned(heads[:, : 2 * self.heads], turn).chunk(2, dim=1)
            return query, key, heads[:, 2 * self.heads :]
        # OpenVINO copies what is cut out of a product's result
        query, key, value = (self._heads(layer, normed, part, part + 1) for part in range(3))
        return turned(query, turn), turned(key, turn), value

    def _heads(self, layer: Any, states: torch.Tensor, first: int = 0, last: int = 3) -> torch.Tensor:
        """Queries, keys and values, or some of these three, one after another: (tokens, parts x heads, size)."""
        hidden = states.shape[-1]
        product = _some(layer.attn.Wqkv, states, slice(first * hidden, last * hidden))
        return product.view(states.shape[0], (last - first) * self.heads, -1)

    def first_tokens(self, row: TokenRow, read_at: torch.Tensor, attention: Attention) -> torch.Tensor:
        """See ``Walk``. The last layer computes no other token if it sees the whole sequence."""
        whole = self.kinds[-1] == _WHOLE
        states = self._after_layers(len(self.layers) - whole, row, attention)
        states = (
            self._last(states, row.positions, read_at, attention.once) if whole else states.index_select(0, read_at)
        )
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


def _after(layer: Any, states: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    """Tokens after a layer, from those before it and what its attention saw."""
    states = added(states, layer.attn.Wo, seen.flatten(1))
    return added(states, layer.mlp.Wo, _gated(layer.mlp, layer.mlp_norm(states)))


def _gated(mlp: Any, states: torch.Tensor) -> torch.Tensor:
    if states.is_cuda:
        values, gates = mlp.Wi(states).chunk(2, dim=1)
    else:
        half = mlp.Wo.in_features
        values, gates = (_some(mlp.Wi, states, rows) for rows in (slice(half), slice(half, 2 * half)))
    return gated(mlp.act, values, gates)


def _some(product: Any, states: torch.Tensor, rows: slice) -> torch.Tensor:
    """Some outputs of a product."""
    return linear(states, product.weight[rows], None if product.bias is None else product.bias[rows])
