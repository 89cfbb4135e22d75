"""The body of Qwen3, down to one vector a prompt: that of the last token.

The layers are transformers' own modules; the walk through them is ours. It takes what documents have in common as keys
and values computed before (padded batches) or in the same pass (packed batches), and in the last layer it computes
nothing but the tokens that are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from rerank.runtimes.packing import PackedBatch, Spans
from rerank.runtimes.torch_packed import attend_spans

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Query, key and value of shape (..., tokens, heads, size) to what the heads saw, in the shape of the query."""
Turn = tuple[torch.Tensor, torch.Tensor]
"""Cosines and sines of tokens' positions, of shape (..., tokens, 1, size)."""


class LastTokenVector(nn.Module):
    """A Qwen3Model as a function of token ids."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        config = model.config
        self.embed_tokens, self.layers, self.norm = model.embed_tokens, model.layers, model.norm
        self.heads, self.key_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        # tables, so that positions are turned into angles in fp32 whatever precision the network runs in
        positions = torch.arange(config.max_position_embeddings)[None]
        cosines, sines = model.rotary_emb(torch.zeros(1), positions)
        self.cosines, self.sines = nn.Buffer(cosines[0]), nn.Buffer(sines[0])

    def forward(
        self, input_ids: torch.Tensor, lengths: torch.Tensor, past: torch.Tensor, kept: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rows of token ids that go on from the same past.

        ``input_ids`` (rows, tokens) is padded on the right, ``lengths`` (rows) tells the real tokens. ``past`` (layers,
        2, past tokens, key heads, size) holds keys and values of what stands before every row. Returns vectors of shape
        (rows, hidden), and the first row's keys and values at the positions ``kept``, shaped like ``past``.
        """
        before = past.shape[2]
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        keys_at = torch.arange(before + input_ids.shape[1], device=input_ids.device)
        causal = keys_at[None, :] <= (before + places)[:, None]
        real = (keys_at[None, :] < (before + lengths)[:, None])[:, None, None, :]
        last = (torch.arange(lengths.shape[0], device=lengths.device), lengths - 1)
        states = self.embed_tokens(input_ids)
        turn = self._turn(before + places)
        turn_last = self._turn(before + lengths[:, None] - 1)
        made: list[tuple[torch.Tensor, torch.Tensor]] = []
        for index, layer in enumerate(self.layers):
            final = index == len(self.layers) - 1
            # every query head of a group asks the same keys, so a group counts as so many more queries
            mask = real if final else causal.repeat(self.heads // self.key_heads, 1)
            attend = self._attend_after(past[index], torch.zeros_like(lengths), mask, made)
            if final:
                states = self._run(layer, states, turn, attend, read=last, turn_read=turn_last)
            else:
                states = self._run(layer, states, turn, attend)
        present = torch.stack([torch.stack([part[0].index_select(0, kept) for part in pair]) for pair in made])
        return self.norm(states)[:, 0], present

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        states = self.embed_tokens(batch.input_ids)
        turn, turn_read = self._turn(batch.positions), self._turn(batch.positions[batch.read_at])
        for layer in self.layers[:-1]:
            states = self._run(layer, states, turn, _attend_in(batch.spans))
        # the last token may see everything before it
        attend = _attend_in(batch.read_spans, causal=False)
        vectors: torch.Tensor = self.norm(
            self._run(self.layers[-1], states, turn, attend, read=(batch.read_at,), turn_read=turn_read)
        )
        return vectors

    def _run(
        self,
        layer: Any,
        states: torch.Tensor,
        turn: Turn,
        attend: Attend,
        *,
        read: tuple[torch.Tensor, ...] | None = None,
        turn_read: Turn | None = None,
    ) -> torch.Tensor:
        """One layer; with ``read``, for those tokens only, which attend to all."""
        own = layer.self_attn
        normed = layer.input_layernorm(states)
        asking = normed
        if read is not None:
            states, asking = self._pick(states, read), self._pick(normed, read)
        query = _turned(own.q_norm(_split(own.q_proj(asking), self.heads)), turn_read or turn)
        key = _turned(own.k_norm(_split(own.k_proj(normed), self.key_heads)), turn)
        value = _split(own.v_proj(normed), self.key_heads)
        states = states + own.o_proj(attend(query, key, value).flatten(-2))
        result: torch.Tensor = states + layer.mlp(layer.post_attention_layernorm(states))
        return result

    @staticmethod
    def _pick(states: torch.Tensor, read: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The tokens that are read; of padded rows one each, kept as rows of one token."""
        return states[read] if len(read) == 1 else states[read][:, None]

    def _attend_after(
        self,
        past: torch.Tensor,
        shared: torch.Tensor,
        mask: torch.Tensor,
        made: list[tuple[torch.Tensor, torch.Tensor]],
    ) -> Attend:
        """Attention of padded rows to a layer's past and to themselves; notes in ``made`` the keys and values.

        ``shared`` (rows) is all zeros: a copy of the past for each row, by a gather, which a traced network repeats for
        any number of rows.
        """

        def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            made.append((key, value))
            rows, size = query.shape[0], query.shape[-1]
            key, value = (
                torch.cat([old.index_select(0, shared), new], dim=1).transpose(1, 2)
                for old, new in ((past[0:1], key), (past[1:2], value))
            )
            grouped = query.transpose(1, 2).reshape(rows, self.key_heads, -1, size)
            attended = nn.functional.scaled_dot_product_attention(grouped, key, value, attn_mask=mask)
            return attended.reshape(rows, self.heads, -1, size).transpose(1, 2)

        return attend

    def _turn(self, positions: torch.Tensor) -> Turn:
        return self.cosines[positions].unsqueeze(-2), self.sines[positions].unsqueeze(-2)


def _attend_in(spans: Spans, *, causal: bool = True) -> Attend:
    return lambda query, key, value: attend_spans(query, key, value, spans, causal=causal)


def _split(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(..., heads x size) to (..., heads, size)."""
    return states.view(*states.shape[:-1], heads, -1)


def _turned(states: torch.Tensor, turn: Turn) -> torch.Tensor:
    """Rotary positions: the two halves of each head turned by the position's angles."""
    cosines, sines = turn
    first, second = states.chunk(2, dim=-1)
    return states * cosines + torch.cat((-second, first), dim=-1) * sines
