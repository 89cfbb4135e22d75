"""Which body computes an encoder. Without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank.catalog.checkpoint import Checkpoint
from rerank.scorers.bert_kinds import BODIES
from rerank.scorers.libraries import import_transformers
from rerank.scorers.ports import config_of
from rerank.scorers.pretrained import activation_bytes, load_network, read_config

if TYPE_CHECKING:
    import torch
    from torch import nn

_LAYERS = {"full_attention", "sliding_attention"}
_SCORES = 8
"""Scores of each token with each other and each head that are in memory at once, as measured with DeBERTa."""


class Vectors(Enum):
    """What a network gives, by the name of its class in ``body_vectors``."""

    FIRST = "FirstTokenVector"
    MEAN = "MeanVector"
    ALL = "TokenVectors"

    @property
    def read(self) -> int | None:
        """See ``Segment.read``."""
        return 0 if self is Vectors.FIRST else None


ENCODED_AS: dict[str | None, Vectors] = {"cls": Vectors.FIRST, "mean": Vectors.MEAN}
"""By the names that poolings have in transformers and sentence-transformers."""


class Body(NamedTuple):
    """A body of an encoder of transformers."""

    module: str
    """Its ``Body`` is a ``Walk``, made of a model of transformers."""
    computes: Callable[[Checkpoint], bool] = lambda _: True
    packs: bool = True
    """False if it reads no packed batches, because its attention adds scores that no kernel adds."""

    def bytes_per_token(self, checkpoint: Checkpoint, length: int) -> int:
        """Approximate device memory per token of a running batch of sequences of this length."""
        config = read_config(checkpoint)
        scores = 0 if self.packs else _SCORES * 4 * config.num_attention_heads * length
        return activation_bytes(config) + scores

    def network(self, model: Any, vectors: Vectors) -> nn.Module:
        """The network around a model of transformers that gives these vectors."""
        # importing torch takes seconds, which a converted network does not need
        networks = import_module("rerank.scorers.body_vectors")
        body = import_module(f"rerank.scorers.{self.module}").Body(model)
        network: nn.Module = getattr(networks, vectors.value)(body)
        return network

    def load(self, checkpoint: Checkpoint, dtype: torch.dtype, vectors: Vectors) -> nn.Module:
        """The same around the checkpoint's model without a head. Raises WeightsBroken where a weight is missing."""
        kind, options = import_transformers().AutoModel, config_of(checkpoint)
        return self.network(load_network(kind, checkpoint, dtype, unused="pooler.", **options), vectors)


def body_of(checkpoint: Checkpoint) -> Body | None:
    """The body that computes the checkpoint; None if there is none."""
    body = _BODIES.get(str(checkpoint.config.get("model_type")))
    return body if body is not None and body.computes(checkpoint) else None


def _is_modernbert(checkpoint: Checkpoint) -> bool:
    """True unless it asks for other kinds of layers, or for positions that depend on the length."""
    config = checkpoint.config
    window = config.get("local_attention", 128)
    return (
        set(config.get("layer_types") or ()) <= _LAYERS
        and all(map(_is_unscaled, (config.get("rope_parameters") or {}).values()))
        and not config.get("rope_scaling")
        and isinstance(window, int)
        and window > 1
        and checkpoint.max_positions is not None
    )


def _is_unscaled(rope: object) -> bool:
    return isinstance(rope, Mapping) and rope.get("rope_type", "default") == "default"


def _is_deberta(checkpoint: Checkpoint) -> bool:
    """True unless positions are absolute only, or convolved."""
    config = checkpoint.config
    kinds = config.get("pos_att_type") or ()
    return (
        config.get("relative_attention") is True
        and set(kinds.split("|") if isinstance(kinds, str) else kinds) == {"c2p", "p2c"}
        and not config.get("conv_kernel_size")
        and checkpoint.max_positions is not None
    )


_BODIES = {
    **dict.fromkeys(BODIES, Body("bert_body")),
    "modernbert": Body("modernbert_body", _is_modernbert),
    "deberta-v2": Body("deberta_body", _is_deberta, packs=False),
}
"""By ``model_type``."""
