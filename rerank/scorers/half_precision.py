"""Networks in half precision: what stays fp32, so that scores do not tie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from torch import nn


def cast_weights(network: nn.Module, dtype: torch.dtype) -> None:
    """Every weight in this precision; tables of positions, which are no weights, stay as they are."""
    for weight in network.parameters():
        weight.data = weight.data.to(dtype)


def in_fp32(value: Any) -> Any:
    """A tensor of fractions in fp32, also each of a mapping; everything else as it is."""
    if isinstance(value, Mapping):
        return {name: in_fp32(one) for name, one in value.items()}
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def score_in_fp32(model: CrossEncoder) -> None:
    """Run in fp32 what makes one score of the body's vectors: the classifier, and modules behind the transformer."""
    for part in (*_classifier(model), *list(model)[1:]):
        part.float()
        part.register_forward_pre_hook(lambda _, inputs: tuple(map(in_fp32, inputs)))


def _classifier(model: CrossEncoder) -> Iterator[nn.Module]:
    # a language model's head is its embeddings, too
    network: Any = model.transformers_model
    if getattr(model[0], "transformer_task", None) == "sequence-classification" and network.base_model is not network:
        yield from (part for part in network.children() if part is not network.base_model)
