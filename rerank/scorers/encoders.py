"""Which body computes an encoder. Without torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank.catalog.checkpoint import Checkpoint
from rerank.scorers.bert_kinds import BODIES
from rerank.scorers.pretrained import activation_bytes, read_config

if TYPE_CHECKING:
    from torch import nn

_LAYERS = {"full_attention", "sliding_attention"}
_SCORES = 8
"""Scores of each token with each other and each head that are in memory at once, as measured with DeBERTa."""


class Body(NamedTuple):
    """A module with the networks ``FirstTokenVector`` and ``MeanVector``, each made around a model of transformers.

    One that ``packs`` has ``TokenVectors`` too.
    """

    module: str
    computes: Callable[[Checkpoint], bool] = lambda _: True
    packs: bool = True
    """False if it reads no packed batches, because its attention adds scores that no kernel adds."""

    def bytes_per_token(self, checkpoint: Checkpoint, length: int) -> int:
        """Approximate device memory per token of a running batch of sequences of this length."""
        config = read_config(checkpoint)
        scores = 0 if self.packs else _SCORES * 4 * config.num_attention_heads * length
        return activation_bytes(config) + scores

    def network(self, model: Any, *, mean: bool) -> nn.Module:
        """The network that gives the mean of all tokens, or the first token."""
        return self._network("MeanVector" if mean else "FirstTokenVector", model)

    def network_of_tokens(self, model: Any) -> nn.Module:
        """The network that gives all tokens."""
        return self._network("TokenVectors", model)

    def _network(self, name: str, model: Any) -> nn.Module:
        # importing torch takes seconds, which a converted network does not need
        network: nn.Module = getattr(importlib.import_module(f"rerank.scorers.{self.module}"), name)(model)
        return network


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
