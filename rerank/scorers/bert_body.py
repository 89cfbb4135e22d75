"""BERT-like bodies.

The layers are modules of transformers; the loop over them is implemented here for two reasons. Only attention sees
padding, and the last layer computes only the first token where no other is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import linear

from rerank.runtimes.base import Attend
from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.segments import PackedBatch, TokenRow
from rerank.runtimes.torch_packed import attention_in
from rerank.scorers.bert_kinds import BODIES, Parts
from rerank.scorers.rotary import Angles, PairAngles, PairTurn, Turn, pair_rows, turned


class Placed(NamedTuple):
    """Tokens' states, with the turn of their positions where those are rotary."""

    states: torch.Tensor
    turn: Turn | PairTurn | None

    def at(self, rows: torch.Tensor) -> Placed:
        """Some of the tokens."""
        return Placed(self.states.index_select(0, rows), self.turn and self.turn.at(rows))


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
        query, key = self._turned(self.query(asking.states), asking), self._turned(self.key(seen.states), seen)
        return self._behind(attend(query, key, self._split(self.value(seen.states))), asking)

    def fused(self, tokens: Placed, attend: Attend) -> torch.Tensor:
        """The same for all tokens, with queries, keys and values from one product."""
        heads = linear(tokens.states, *self._query_key_value)
        query, key, value = heads.chunk(3, dim=1)
        return self._behind(attend(self._turned(query, tokens), self._turned(key, tokens), self._split(value)), tokens)

    @cached_property
    def _query_key_value(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weights and biases of the three, of which their own are parts from now on."""
        with torch.inference_mode(False), torch.no_grad():
            weight = _share([product.weight for product in self._three])
            return weight, None if self.query.bias is None else _share([product.bias for product in self._three])

    @property
    def _three(self) -> tuple[Any, Any, Any]:
        return self.query, self.key, self.value

    def _behind(self, attended: torch.Tensor, asking: Placed) -> torch.Tensor:
        hidden = self.attention_norm(self.out(attended.flatten(1)) + asking.states)
        result: torch.Tensor = self.norm(self.products(hidden) + hidden)
        return result

    def _turned(self, states: torch.Tensor, tokens: Placed) -> torch.Tensor:
        heads = self._split(states)
        return heads if tokens.turn is None else turned(heads, tokens.turn)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) to (tokens, heads, size)."""
        return states.view(states.shape[0], self.heads, -1)


def _share(parameters: Sequence[torch.Tensor]) -> torch.Tensor:
    """All rows in one tensor, to which the parameters give up their memory."""
    together = torch.cat([*parameters])
    for parameter, rows in zip(parameters, together.chunk(len(parameters)), strict=True):
        parameter.data = rows
    return together


class Attention(NamedTuple):
    """How the tokens of a batch attend."""

    each: Attend
    once: Attend
    """Where one token per sequence does."""
    fused: bool
    """True where one product is faster than three; OpenVINO copies what is cut out of a product's result."""


class Body(nn.Module):
    """A model of a kind in ``BODIES``, without its head, as a function of tokens in one row; see ``Walk``."""

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
        self.angles: nn.Module | None = Angles(rotary, config.max_position_embeddings, body.dtype) if rotary else None

    def pair_positions(self) -> None:
        """See ``Pairs``."""
        if self.angles is None:
            return
        self.angles = PairAngles(self.angles)
        for layer in self.layers:
            own: Any = layer
            for product in (own.query, own.key):
                pair_rows(product, product.out_features // own.heads)

    def in_rectangle(self, rectangle: Rectangle) -> Attention:
        """See ``Walk``."""
        return Attention(rectangle.attend, rectangle.attend_once, fused=False)

    def in_spans(self, batch: PackedBatch) -> Attention:
        """See ``Walk``."""
        return Attention(attention_in(batch.spans), attention_in(batch.read_spans), fused=True)

    def all_tokens(self, row: TokenRow, attention: Attention) -> torch.Tensor:
        """See ``Walk``."""
        return self._after(len(self.layers), row, attention).states

    def first_tokens(self, row: TokenRow, read_at: torch.Tensor, attention: Attention) -> torch.Tensor:
        """See ``Walk``. The last layer computes no other token."""
        tokens = self._after(len(self.layers) - 1, row, attention)
        vectors: torch.Tensor = self.layers[-1](tokens.at(read_at), tokens, attention.once)
        return vectors

    def _after(self, layers: int, row: TokenRow, attention: Attention) -> Placed:
        """All tokens after the first ``layers``."""
        tokens = self._embed(row)
        for layer in self.layers[:layers]:
            own: Any = layer
            read = own.fused(tokens, attention.each) if attention.fused else own(tokens, tokens, attention.each)
            tokens = Placed(read, tokens.turn)
        return tokens

    def _embed(self, row: TokenRow) -> Placed:
        given = {} if row.type_ids is None else {"token_type_ids": row.type_ids[None]}
        embedded = self.embeddings(input_ids=row.input_ids[None], position_ids=row.positions[None], **given)
        return Placed(self.widened(embedded[0]), self.angles(row.positions) if self.angles else None)
