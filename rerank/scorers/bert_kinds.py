"""Kinds of BERT-like bodies as data, and how each lays out what it reads. Without torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy

from rerank.catalog.checkpoint import Checkpoint
from rerank.errors import ModelUnsupported
from rerank.runtimes.base import TokenIds
from rerank.runtimes.ids import Ids
from rerank.runtimes.rectangle import rectangle_inputs
from rerank.runtimes.segments import Segment
from rerank.scorers.pretrained import gives_types, read_config


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


_BERT = Parts()
BODIES = {
    **dict.fromkeys(("bert", "electra", "roberta", "xlm-roberta", "camembert"), _BERT),
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
"""The bodies that ``bert_body`` runs, by ``model_type``."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a body reads next to its tokens."""

    positions_after_padding: bool = False
    """True where positions are counted behind the id that stands for padding, and not for that id, even in a text."""
    typed: bool = True
    """False for a kind that cannot tell query and document apart."""


INPUTS = {
    **dict.fromkeys(("bert", "deberta-v2", "electra", "gte"), Inputs()),
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), Inputs(positions_after_padding=True)),
    **dict.fromkeys(("distilbert", "modernbert"), Inputs(typed=False)),
}
"""By ``model_type``."""


class BertSegments:
    """Sequences as segments, with positions and types as the body counts them; called with token ids."""

    def __init__(self, checkpoint: Checkpoint, read: int | None) -> None:
        """``read`` as in ``Segment``. Raises ModelUnsupported for a RoBERTa without an id for padding."""
        config = read_config(checkpoint)
        inputs = INPUTS[config.model_type]
        self._read = read
        self._first_after = config.pad_token_id if inputs.positions_after_padding else None
        if inputs.positions_after_padding and self._first_after is None:
            raise ModelUnsupported("its config.json has no pad_token_id, behind which RoBERTa counts positions.")
        # types tell query and document apart
        self._typed = inputs.typed and getattr(config, "type_vocab_size", 0) > 1 and gives_types(checkpoint.folder)

    def __call__(self, sequence: TokenIds) -> Segment:
        type_ids = sequence.type_ids if self._typed else None
        return Segment(sequence.input_ids, self._positions(sequence), read=self._read, type_ids=type_ids)

    def example(self) -> dict[str, numpy.ndarray]:
        """Inputs to trace a body's ``forward`` with."""
        return rectangle_inputs([self(TokenIds(Ids.of([5]) * length, Ids.of([0]) * length)) for length in (7, 5)])

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
