"""Bodies of language models, down to one vector per prompt: that of the last token, or the mean of all.

The layers are modules of transformers; the loop over them is implemented here. Keys and values that documents share are
computed once, only attention sees padding, and the last layer computes only the tokens that are read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from rerank.runtimes.base import Attend
from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.segments import PackedBatch, TokenRow
from rerank.runtimes.torch_packed import CAUSAL, attention_in
from rerank.scorers.fused import added, gated_inner
from rerank.scorers.rotary import Angles, PairAngles, PairTurn, Turn, pair_rows, turned

LayerAttention = Callable[[int], Attend]
"""How the layer with this number attends."""


class _Body(nn.Module):
    """A Qwen, Llama, Mistral or Gemma as a function of tokens in one row."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        config = model.config
        _fuse_norms(model)
        self.embed_tokens, self.layers, self.norm = model.embed_tokens, model.layers, model.norm
        self.heads, self.key_heads = int(config.num_attention_heads), int(config.num_key_value_heads)
        self.angles: nn.Module = Angles(model.rotary_emb, config.max_position_embeddings, model.dtype)

    def pair_positions(self) -> None:
        """See ``Pairs``."""
        self.angles = PairAngles(self.angles)
        for layer in self.layers:
            own: Any = layer.self_attn
            for part in (own.q_proj, own.k_proj, getattr(own, "q_norm", None), getattr(own, "k_norm", None)):
                if part is not None:
                    pair_rows(part, own.head_dim)

    def _run(
        self,
        layer: Any,
        states: torch.Tensor,
        turn: Turn | PairTurn,
        attend: Attend,
        *,
        read_at: torch.Tensor | None = None,
        turn_read: Turn | PairTurn | None = None,
    ) -> torch.Tensor:
        """One layer; with ``read_at``, for those tokens only, which attend to all."""
        own = layer.self_attn
        normed = layer.input_layernorm(states)
        asking = normed
        if read_at is not None:
            states, asking = states.index_select(0, read_at), normed.index_select(0, read_at)
        query = turned(_normed(own, "q_norm", _split(own.q_proj(asking), self.heads)), turn_read or turn)
        key = turned(_normed(own, "k_norm", _split(own.k_proj(normed), self.key_heads)), turn)
        value = _split(own.v_proj(normed), self.key_heads)
        states = added(states, own.o_proj, attend(query, key, value).flatten(1))
        return added(states, layer.mlp.down_proj, gated_inner(layer.mlp, layer.post_attention_layernorm(states)))


class LastTokenVector(_Body):
    """The vector of each sequence's last token, which sees all before it."""

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        read_at: torch.Tensor,
        rows: torch.Tensor,
        places: torch.Tensor,
        lengths: torch.Tensor,
        past: torch.Tensor,
        kept: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sequences that go on from the same past; see ``token_rows`` and ``Rectangle`` for the first six inputs.

        ``past`` (layers, 2, past tokens, key heads, size) holds keys and values of what stands before every sequence.
        Returns vectors of shape (answers, hidden), and keys and values of the tokens ``kept``, shaped like ``past``.
        """
        made: list[tuple[torch.Tensor, torch.Tensor]] = []
        attention = _AfterPast(Rectangle(rows, places, lengths), past, self.key_heads, made)
        row = TokenRow(input_ids, positions)
        vectors = self._walk(row, read_at, attention.of_layer, attention.of_last_layer)
        present = torch.stack([torch.stack([part.index_select(0, kept) for part in pair]) for pair in made])
        return vectors, present

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        attend = attention_in(batch.spans, CAUSAL)
        # the last token may see everything before it
        attend_once = attention_in(batch.read_spans)
        return self._walk(batch.row, batch.read_at, lambda _: attend, lambda _: attend_once)

    def _walk(
        self, row: TokenRow, read_at: torch.Tensor, attend: LayerAttention, attend_once: LayerAttention
    ) -> torch.Tensor:
        """``attend_once`` is the last layer's, where one token per sequence attends."""
        states = self.embed_tokens(row.input_ids)
        turn, turn_read = self.angles(row.positions), self.angles(row.positions.index_select(0, read_at))
        last = len(self.layers) - 1
        for index in range(last):
            states = self._run(self.layers[index], states, turn, attend(index))
        states = self._run(self.layers[last], states, turn, attend_once(last), read_at=read_at, turn_read=turn_read)
        vectors: torch.Tensor = self.norm(states)
        return vectors


class EachSeesAll(_Body):
    """All tokens of a sequence see one another; see ``Walk``. No single one is read."""

    def in_rectangle(self, rectangle: Rectangle) -> Attend:
        """See ``Walk``."""
        groups = self.heads // self.key_heads

        def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            return rectangle.attend(query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1))

        return attend

    def in_spans(self, batch: PackedBatch) -> Attend:
        """See ``Walk``."""
        return attention_in(batch.spans)

    def all_tokens(self, row: TokenRow, attention: Attend) -> torch.Tensor:
        """See ``Walk``."""
        states = self.embed_tokens(row.input_ids)
        turn = self.angles(row.positions)
        for layer in self.layers:
            states = self._run(layer, states, turn, attention)
        vectors: torch.Tensor = self.norm(states)
        return vectors


class _AfterPast:
    """Attention, in a rectangle, of sequences to the past that all of them share and to themselves."""

    def __init__(
        self, rectangle: Rectangle, past: torch.Tensor, key_heads: int, made: list[tuple[torch.Tensor, torch.Tensor]]
    ) -> None:
        """``made`` collects the keys and values of each layer."""
        self._rectangle, self._past, self._key_heads, self._made = rectangle, past, key_heads, made
        before, longest = past.shape[2], rectangle.rows.shape[1]
        places = torch.arange(longest, device=past.device)
        keys_at = torch.arange(before + longest, device=past.device)
        self._causal = keys_at <= (before + places)[:, None]
        self._real = (keys_at < (before + rectangle.lengths)[:, None])[:, None, None]
        # all zeros: a copy of the past for each row, by a gather, which a traced network repeats for any number of rows
        self._shared = torch.zeros_like(rectangle.lengths)

    def of_layer(self, index: int) -> Attend:
        """Each token attends to what stands before it."""

        def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            heads = query.shape[1]
            query = self._rectangle.spread(query).transpose(1, 2)
            # query heads of a group share their keys, so a group counts as that many more queries
            grouped = query.reshape(query.shape[0], self._key_heads, -1, query.shape[-1])
            mask = self._causal.repeat(heads // self._key_heads, 1)
            key, value = self._keys(index, key, value)
            attended = scaled_dot_product_attention(grouped, key, value, attn_mask=mask)
            attended = attended.reshape(query.shape[0], heads, -1, query.shape[-1])
            return self._rectangle.gather(attended.transpose(1, 2))

        return attend

    def of_last_layer(self, index: int) -> Attend:
        """One token per sequence attends to all of it."""

        def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            grouped = query.view(query.shape[0], self._key_heads, -1, query.shape[-1])
            key, value = self._keys(index, key, value)
            attended = scaled_dot_product_attention(grouped, key, value, attn_mask=self._real)
            return attended.reshape(query.shape)

        return attend

    def _keys(self, index: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """A layer's keys and values, past and new, of shape (sequences, key heads, tokens, size)."""
        self._made.append((key, value))
        past = self._past[index]
        return self._behind(past[0:1], key), self._behind(past[1:2], value)

    def _behind(self, past: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        copies = past.index_select(0, self._shared)
        return torch.cat([copies, self._rectangle.spread(new)], dim=1).transpose(1, 2)


def _fuse_norms(model: Any) -> None:
    """Replace norms that transformers computes in six steps by torch's; Gemma's, which add one to a weight, stay."""
    for part in list(model.modules()):
        for name, norm in part.named_children():
            if hasattr(norm, "variance_epsilon"):
                fused = nn.RMSNorm(norm.weight.shape, eps=norm.variance_epsilon, dtype=norm.weight.dtype)
                fused.weight = norm.weight
                setattr(part, name, fused)


def _split(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(..., heads x size) to (..., heads, size)."""
    return states.view(*states.shape[:-1], heads, -1)


def _normed(attention: Any, name: str, states: torch.Tensor) -> torch.Tensor:
    """Heads after the norm of this name, which only Qwen3 has."""
    norm = getattr(attention, name, None)
    return states if norm is None else norm(states)
