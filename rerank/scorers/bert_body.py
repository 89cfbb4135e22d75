"""BERT-like bodies, down to one vector per sequence: that of the first token, or the mean of all.

The layers are modules of transformers; the loop over them is implemented here for two reasons. Only attention sees
padding, and the last layer computes only the first token where no other is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig

from rerank.errors import ModelUnsupported
from rerank.runtimes.base import Attend, TokenIds
from rerank.runtimes.rectangle import Rectangle, rectangle_inputs
from rerank.runtimes.segments import PackedBatch, Segment, TokenRow
from rerank.runtimes.torch_packed import attention_in, means

MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
"""Values of ``model_type`` that this module runs."""


class BertSegments:
    """Sequences as segments, with positions and types as the body counts them; called with token ids."""

    def __init__(self, config: PretrainedConfig, read: int | None) -> None:
        """``read`` as in ``Segment``. Raises ModelUnsupported for a RoBERTa without an id for padding."""
        self._read = read
        # RoBERTa counts positions behind the id that stands for padding, and does not count that id even in a text
        self._first_after = None if config.model_type == "bert" else config.pad_token_id
        if config.model_type != "bert" and config.pad_token_id is None:
            raise ModelUnsupported("its config.json has no pad_token_id, behind which RoBERTa counts positions.")
        # BERT tells query and document apart
        self._typed = config.type_vocab_size > 1

    def __call__(self, sequence: TokenIds) -> Segment:
        type_ids = sequence.type_ids if self._typed else None
        return Segment(sequence.input_ids, self._positions(sequence), read=self._read, type_ids=type_ids)

    def example(self) -> dict[str, torch.Tensor]:
        """Inputs to trace a body's ``forward`` with."""
        return rectangle_inputs([self(TokenIds((5,) * length, (0,) * length)) for length in (7, 5)])

    def _positions(self, sequence: TokenIds) -> Sequence[int]:
        padding = self._first_after
        if padding is None:
            return range(sequence.tokens)
        if padding not in sequence.input_ids:
            return range(padding + 1, padding + 1 + sequence.tokens)
        counted = accumulate(token != padding for token in sequence.input_ids)
        return [
            padding + (count if token != padding else 0)
            for token, count in zip(sequence.input_ids, counted, strict=True)
        ]


class _Body(nn.Module):
    """A BertModel, RobertaModel or XLMRobertaModel as a function of tokens in one row."""

    def __init__(self, body: Any) -> None:
        super().__init__()
        self.embeddings = body.embeddings
        self.layers = body.encoder.layer
        self.heads = int(body.config.num_attention_heads)

    def _embed(self, row: TokenRow) -> torch.Tensor:
        given = {} if row.type_ids is None else {"token_type_ids": row.type_ids[None]}
        embedded = self.embeddings(input_ids=row.input_ids[None], position_ids=row.positions[None], **given)
        states: torch.Tensor = embedded[0]
        return states

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
        states = self._embed(row)
        for layer in self.layers[:-1]:
            states = self._run(layer, states, states, attend)
        return self._run(self.layers[-1], states.index_select(0, read_at), states, attend_once)


class MeanVector(_Body):
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
        return means(self._walk(batch.row, attention_in(batch.spans)), batch.spans)

    def _walk(self, row: TokenRow, attend: Attend) -> torch.Tensor:
        states = self._embed(row)
        for layer in self.layers:
            states = self._run(layer, states, states, attend)
        return states
