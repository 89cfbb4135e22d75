"""The body of BERT and its kin, down to one vector a pair: that of the first token.

The layers are transformers' own modules; the walk through them is ours for two reasons. Nothing but attention sees
padding, and in the last layer, where only the first token is read, nothing is computed for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from rerank.runtimes.packing import PackedBatch, Spans
from rerank.runtimes.rectangle import Rectangle
from rerank.runtimes.torch_packed import attend_spans

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Query, key and value of shape (tokens, heads, size) to what the heads saw, in the shape of the query."""


class FirstTokenVector(nn.Module):
    """A BertModel, RobertaModel or XLMRobertaModel as a function of tokens in one row."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.embeddings = body.embeddings
        self.layers = body.encoder.layer
        self.heads = int(body.config.num_attention_heads)

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
        return (self._walk(input_ids, positions, type_ids, read_at, rectangle.attend, rectangle.attend_once),)

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """See ``PackedNetwork``."""
        attend, attend_once = _attend_in(batch.spans), _attend_in(batch.read_spans)
        return self._walk(batch.input_ids, batch.positions, batch.type_ids, batch.read_at, attend, attend_once)

    def _walk(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        type_ids: torch.Tensor | None,
        read_at: torch.Tensor,
        attend: Attend,
        attend_once: Attend,
    ) -> torch.Tensor:
        """``attend_once`` is the last layer's, where one token a sequence asks."""
        given = {} if type_ids is None else {"token_type_ids": type_ids[None]}
        states = self.embeddings(input_ids=input_ids[None], position_ids=positions[None], **given)[0]
        for layer in self.layers[:-1]:
            states = self._run(layer, states, states, attend)
        return self._run(self.layers[-1], states.index_select(0, read_at), states, attend_once)

    def _run(self, layer: Any, queries: torch.Tensor, states: torch.Tensor, attend: Attend) -> torch.Tensor:
        """One layer, for the tokens in ``queries``, which attend to all ``states``."""
        own = layer.attention.self
        seen = attend(*(self._split(part) for part in (own.query(queries), own.key(states), own.value(states))))
        hidden = layer.attention.output(seen.flatten(1), queries)
        result: torch.Tensor = layer.output(layer.intermediate(hidden), hidden)
        return result

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        """(tokens, hidden) to (tokens, heads, size)."""
        return states.view(states.shape[0], self.heads, -1)


def _attend_in(spans: Spans) -> Attend:
    return lambda query, key, value: attend_spans(query, key, value, spans, causal=False)
