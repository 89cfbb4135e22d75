"""Body of DeBERTa-v2 and -v3.

Every pair of tokens has an extra score: of the one's content with the distance between them, and of the other's. Here
those scores are products with the distances that occur, once each, which a change of layout then puts into place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.segments import TokenRow

Rows = tuple[torch.Tensor, torch.Tensor]
"""Rows of a table of distances, from the longest down and from its opposite up; see ``_Distances``."""


class Attention(NamedTuple):
    """Where the tokens of a batch stand."""

    rectangle: Rectangle
    rows: Rows


class _Distances(nn.Module):
    """Rows of a table of distances, for every distance between two tokens."""

    def __init__(self, attention: Any, positions: int) -> None:
        super().__init__()
        self.positions = positions
        self.falling = nn.Buffer(_rows(attention, torch.arange(positions - 1, -positions - 1, -1)))
        self.rising = nn.Buffer(_rows(attention, torch.arange(1 - positions, positions + 1)))

    def forward(self, longest: int) -> Rows:
        """From ``longest - 1`` down to ``-longest``, and from ``1 - longest`` up to ``longest``."""
        within = slice(self.positions - longest, self.positions + longest)
        return self.falling[within], self.rising[within]


def _rows(attention: Any, distances: torch.Tensor) -> torch.Tensor:
    # importing it takes seconds, which a converted network need not wait for
    from transformers.models.deberta_v2.modeling_deberta_v2 import make_log_bucket_position

    size, buckets = attention.pos_ebd_size, attention.position_buckets
    if buckets > 0:
        distances = make_log_bucket_position(distances, buckets, attention.max_relative_positions).long()
    rows: torch.Tensor = (distances + size).clamp(0, 2 * size - 1)
    return rows


class _Layer(nn.Module):
    """One layer, with its keys and queries of distances computed once."""

    def __init__(self, layer: Any, distances: torch.Tensor) -> None:
        super().__init__()
        own = layer.attention.self
        self.query, self.key, self.value = own.query_proj, own.key_proj, own.value_proj
        self.attended, self.inner, self.output = layer.attention.output, layer.intermediate, layer.output
        self.heads = int(own.num_attention_heads)
        shared = own.share_att_key
        with torch.no_grad():
            self.distance_keys = nn.Buffer(self._split((self.key if shared else own.pos_key_proj)(distances)))
            self.distance_queries = nn.Buffer(self._split((self.query if shared else own.pos_query_proj)(distances)))
        # three kinds of scores are added up
        self.scale = (3 * self.distance_keys.shape[-1]) ** -0.5

    def forward(self, states: torch.Tensor, attention: Attention) -> torch.Tensor:
        """All tokens after the layer."""
        rectangle, rows = attention
        query, key, value = (self._spread(rectangle, part(states)) for part in (self.query, self.key, self.value))
        falling, rising = (
            table[at].transpose(0, 1)
            for table, at in zip((self.distance_keys, self.distance_queries), rows, strict=True)
        )
        of_query = _in_place(query @ falling.transpose(-1, -2))
        of_key = _in_place(key @ rising.transpose(-1, -2)).transpose(-1, -2)
        seen = self._attend(rectangle, query, key, value, of_query + of_key)
        return self._after(states, rectangle.gather(seen.transpose(1, 2)))

    def first(self, states: torch.Tensor, read_at: torch.Tensor, attention: Attention) -> torch.Tensor:
        """The first token of each sequence after the layer."""
        rectangle, rows = attention
        asking = states.index_select(0, read_at)
        query = self._split(self.query(asking))[:, :, None]
        key, value = (self._spread(rectangle, part(states)) for part in (self.key, self.value))
        # from the first token to the others it is 0, -1, -2 ...
        longest = rectangle.rows.shape[1]
        down = rows[0][longest - 1 : 2 * longest - 1]
        of_query = query @ self.distance_keys[down].permute(1, 2, 0)
        of_key = (key * self.distance_queries[down].transpose(0, 1)).sum(-1)[:, :, None]
        seen = self._attend(rectangle, query, key, value, of_query + of_key)
        return self._after(asking, seen.squeeze(2))

    def _attend(
        self, rectangle: Rectangle, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, extra: torch.Tensor
    ) -> torch.Tensor:
        mask = (extra * self.scale).masked_fill(~rectangle.real(), torch.finfo(extra.dtype).min)
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=self.scale)

    def _after(self, states: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        hidden = self.attended(seen.flatten(1), states)
        result: torch.Tensor = self.output(self.inner(hidden), hidden)
        return result

    def _spread(self, rectangle: Rectangle, states: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) to (sequences, heads, longest, size)."""
        return rectangle.spread(self._split(states)).transpose(1, 2)

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) to (tokens, heads, size)."""
        return states.view(states.shape[0], self.heads, -1)


def _in_place(scores: torch.Tensor) -> torch.Tensor:
    """Scores of each token with all distances, from the longest, to those with each other token.

    (..., longest, 2 x longest) to (..., longest, longest): row i begins i columns further left, so rows read as if they
    were one column shorter lie below one another.
    """
    longest = scores.shape[-2]
    row = scores.flatten(-2)[..., longest - 1 : longest - 1 + longest * (2 * longest - 1)]
    return row.reshape(*scores.shape[:-1], 2 * longest - 1)[..., :longest]


class Body(nn.Module):
    """A DebertaV2Model as a function of tokens in one row; see ``Walk``. It reads no packed batches."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        encoder = body.encoder
        attention = encoder.layer[0].attention.self
        self.embeddings = body.embeddings
        self.distances = _Distances(attention, body.config.max_position_embeddings)
        embedded = encoder.get_rel_embedding()[: 2 * attention.pos_ebd_size]
        self.layers = nn.ModuleList(_Layer(layer, embedded) for layer in encoder.layer)

    def in_rectangle(self, rectangle: Rectangle) -> Attention:
        """See ``Walk``."""
        return Attention(rectangle, self.distances(rectangle.rows.shape[1]))

    def all_tokens(self, row: TokenRow, attention: Attention) -> torch.Tensor:
        """See ``Walk``."""
        return self._after_layers(len(self.layers), row, attention)

    def first_tokens(self, row: TokenRow, read_at: torch.Tensor, attention: Attention) -> torch.Tensor:
        """See ``Walk``. The last layer computes no other token."""
        states = self._after_layers(len(self.layers) - 1, row, attention)
        last: Any = self.layers[-1]
        vectors: torch.Tensor = last.first(states, read_at, attention)
        return vectors

    def _after_layers(self, layers: int, row: TokenRow, attention: Attention) -> torch.Tensor:
        """All tokens after the first ``layers``."""
        types = None if row.type_ids is None else row.type_ids[None]
        states: torch.Tensor = self.embeddings(row.input_ids[None], types, row.positions[None])[0]
        for layer in self.layers[:layers]:
            states = layer(states, attention)
        return states
