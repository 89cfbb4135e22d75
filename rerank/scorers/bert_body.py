"""The body of BERT and its kin, down to one vector a pair: that of the first token.

The layers are transformers' own modules; the walk through them is ours for two reasons. It serves padded and packed
batches alike, and in the last layer, where only the first token is read, it computes nothing for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from rerank.runtimes.packing import PackedBatch, Spans
from rerank.runtimes.torch_packed import attend_spans

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Query, key and value, projected, to what the heads saw, in the shape of the query."""


class FirstTokenVector(nn.Module):
    """A BertModel, RobertaModel or XLMRobertaModel as a function of token ids."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.embeddings = body.embeddings
        self.layers = body.encoder.layer
        self.heads = int(body.config.num_attention_heads)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor]:
        """Padded ids of shape (pairs, tokens) to vectors of shape (pairs, hidden)."""
        given = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        states = self.embeddings(input_ids=input_ids, **given)
        mask = attention_mask[:, None, None, :] > 0

        def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
            query, key, value = (self._split(states).transpose(1, 2) for states in (query, key, value))
            attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            return attended.transpose(1, 2).flatten(2)

        for layer in self.layers[:-1]:
            states = _run(layer, states, states, attend)
        return (_run(self.layers[-1], states[:, :1], states, attend)[:, 0],)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        given = {} if batch.type_ids is None else {"token_type_ids": batch.type_ids[None]}
        states = self.embeddings(input_ids=batch.input_ids[None], position_ids=batch.positions[None], **given)[0]

        def attend_in(spans: Spans) -> Attend:
            def attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
                query, key, value = (self._split(states) for states in (query, key, value))
                return attend_spans(query, key, value, spans, causal=False).flatten(1)

            return attend

        attend = attend_in(batch.spans)
        for layer in self.layers[:-1]:
            states = _run(layer, states, states, attend)
        return _run(self.layers[-1], states[batch.read_at], states, attend_in(batch.read_spans))

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(..., hidden) to (..., heads, size)."""
        return states.view(*states.shape[:-1], self.heads, -1)


def _run(layer: Any, queries: torch.Tensor, states: torch.Tensor, attend: Attend) -> torch.Tensor:
    """One layer, for the tokens in ``queries``, which attend to all ``states``."""
    own = layer.attention.self
    seen = attend(own.query(queries), own.key(states), own.value(states))
    hidden = layer.attention.output(seen, queries)
    result: torch.Tensor = layer.output(layer.intermediate(hidden), hidden)
    return result
