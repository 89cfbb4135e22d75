"""BERT-like bodies, down to one vector per sequence: that of the first token, or the mean of all.

The layers are modules of transformers; the loop over them is implemented here for two reasons. Only attention sees
padding, and the last layer computes only the first token where no other is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import nn

from rerank.catalog.checkpoint import Checkpoint
from rerank.errors import ModelUnsupported
from rerank.runtimes.base import Attend, TokenIds
from rerank.runtimes.rectangle import Rectangle, rectangle_inputs
from rerank.runtimes.segments import PackedBatch, Segment, TokenRow
from rerank.runtimes.torch_packed import attention_in, means
from rerank.scorers.pretrained import gives_types, read_config
from rerank.scorers.rotary import Angles, Turn, turned


@dataclass(frozen=True, slots=True)
class Parts:
    """Where a body keeps its parts: paths of modules. All kinds add and normalise behind attention and products."""

    layers: str = "encoder.layer"
    query: str = "attention.self.query"
    key: str = "attention.self.key"
    value: str = "attention.self.value"
    out: str = "attention.output.dense"
    attention_norm: str = "attention.output.LayerNorm"
    products: tuple[str, ...] = ("intermediate", "output.dense")
    """From one addition to the next."""
    norm: str = "output.LayerNorm"
    positions_after_padding: bool = False
    """True where positions are counted behind the id that stands for padding, and not for that id, even in a text."""


_BERT = Parts()
_ROBERTA = Parts(positions_after_padding=True)
BODIES = {
    "bert": _BERT,
    "electra": _BERT,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "gte": Parts(
        layers="layers",
        query="self_attn.q_proj",
        key="self_attn.k_proj",
        value="self_attn.v_proj",
        out="self_attn.o_proj",
        attention_norm="post_attention_layernorm",
        products=("mlp",),
        norm="post_mlp_layernorm",
    ),
    "distilbert": Parts(
        layers="transformer.layer",
        query="attention.q_lin",
        key="attention.k_lin",
        value="attention.v_lin",
        out="attention.out_lin",
        attention_norm="sa_layer_norm",
        products=("ffn.lin1", "ffn.activation", "ffn.lin2"),
        norm="output_layer_norm",
    ),
}
"""The bodies that this module runs, by ``model_type``."""


class BertSegments:
    """Sequences as segments, with positions and types as the body counts them; called with token ids."""

    def __init__(self, checkpoint: Checkpoint, read: int | None) -> None:
        """``read`` as in ``Segment``. Raises ModelUnsupported for a RoBERTa without an id for padding."""
        config = read_config(checkpoint)
        self._read = read
        self._first_after = config.pad_token_id if BODIES[config.model_type].positions_after_padding else None
        if BODIES[config.model_type].positions_after_padding and config.pad_token_id is None:
            raise ModelUnsupported("its config.json has no pad_token_id, behind which RoBERTa counts positions.")
        # types tell query and document apart
        self._typed = getattr(config, "type_vocab_size", 0) > 1 and gives_types(checkpoint.folder)

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
        self.angles = Angles(rotary, config.max_position_embeddings) if rotary else None

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
        tokens = self._embed(row)
        for layer in self.layers:
            tokens = Placed(layer(tokens, tokens, attend), tokens.turn)
        return tokens.states
