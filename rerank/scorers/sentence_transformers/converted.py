"""Cross-encoders of sentence-transformers on a CPU: the body in OpenVINO, what follows it in torch and fp32."""

from __future__ import annotations

import inspect
import logging
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from sentence_transformers import CrossEncoder
from torch import nn

from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import Runtime
from rerank.runtimes.padding import example_ids
from rerank.scorers.base import Placement
from rerank.scorers.half_precision import cast_weights
from rerank.scorers.networks import WalkedElsewhere, open_converted

logger = logging.getLogger(__name__)

_OUTPUTS = ("last_hidden_state", "pooler_output")
_SHORT, _LONG = ("warm", "up"), ("warm", "up and running " * 200)


class BodyVectors(nn.Module):
    """A body of transformers, as a function from token ids to its tensors."""

    def __init__(self, body: nn.Module, outputs: tuple[str, ...], dtype: torch.dtype) -> None:
        super().__init__()
        self.body = body
        self.outputs = outputs
        cast_weights(body, dtype)

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...]:
        """Its outputs of these names."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        found = self.body(**inputs, return_dict=True)
        return tuple(found[name] for name in self.outputs)


class ConvertedBody(nn.Module):
    """Stands in a model where its body was: takes what the body takes, and answers as it does."""

    def __init__(self, body: nn.Module, runtime: Runtime, names: tuple[str, ...], answer: partial[Any]) -> None:
        """``names`` are the runtime's inputs; ``answer`` makes of its outputs what the body returns."""
        super().__init__()
        self.config = body.config
        self._signature = inspect.signature(body.forward)
        self._runtime = runtime
        self._names = names
        self._answer = answer

    def forward(self, *given: Any, **named: Any) -> Any:
        """What the body would return, in fp32."""
        asked = self._signature.bind(*given, **named).arguments
        outputs = self._runtime({name: asked[name].numpy() for name in self._names})
        return self._answer(*map(torch.from_numpy, outputs))


@dataclass(frozen=True, slots=True)
class _Call:
    """How a head asks its body."""

    names: tuple[str, ...]
    """The inputs it hands over."""
    kind: Any
    """The class of the answer."""
    outputs: tuple[str, ...]
    """The tensors in the answer that a head reads."""


def convert_body(
    model: CrossEncoder, instruction: str | None, checkpoint: Checkpoint, placement: Placement
) -> Runtime | None:
    """Put the model's body into OpenVINO, if that gives what torch gives for a short and a long pair.

    Else the body stays as it is, in the precision that torch has there, and the log says why.
    """
    network: Any = model.transformers_model
    body = network.base_model
    kernel = body.config._attn_implementation
    # OpenVINO's fused attention gives NaN where a token sees none, as padding does next to a sliding window
    body.set_attn_implementation("eager")
    body.config.use_cache = False
    runtime = _opened(model, instruction, checkpoint, placement)
    if runtime is None:
        body.set_attn_implementation(kernel)
        cast_weights(network, placement.device.dtype)
    return runtime


def _opened(
    model: CrossEncoder, instruction: str | None, checkpoint: Checkpoint, placement: Placement
) -> Runtime | None:
    network: Any = model.transformers_model
    body, call = network.base_model, _observed(model, model.preprocess([_SHORT], prompt=instruction))
    if call is None:
        logger.warning(
            "%s runs in plain torch, which is slower: its head asks its body in a way of its own",
            checkpoint.folder.name,
        )
        return None
    make = partial(BodyVectors, body, call.outputs)
    texts = model.preprocess([_SHORT, _LONG], prompt=instruction)
    walked = WalkedElsewhere({name: texts[name].numpy() for name in call.names}, network.config.to_dict())
    runtime = open_converted(make, example_ids(call.names), checkpoint, placement, walked)
    if runtime is not None:
        answer = partial(_answer, call.kind, call.outputs)
        _replace(model, body, ConvertedBody(body, runtime, call.names, answer))
    return runtime


@torch.inference_mode()
def _observed(model: CrossEncoder, features: dict[str, Any]) -> _Call | None:
    """The one call of the body in a forward pass; None if there are more, or it gets other tensors than the features.

    None also for a body whose answer is not one that heads read.
    """
    network: Any = model.transformers_model
    names, body, calls = tuple(features), network.base_model, []
    forward = body.forward

    def watched(*given: Any, **named: Any) -> Any:
        calls.append((inspect.signature(forward).bind(*given, **named).arguments, forward(*given, **named)))
        return calls[-1][1]

    # sentence-transformers calls it by this name, which hooks do not see
    body.forward = watched
    try:
        model(features)
    finally:
        del body.forward
    if len(calls) != 1:
        return None
    asked, found = calls[0]
    tensors = {name for name, value in asked.items() if isinstance(value, torch.Tensor)}
    outputs = tuple(name for name in _OUTPUTS if found.get(name) is not None)
    if not outputs or not {"input_ids", "attention_mask"} <= tensors <= set(names):
        return None
    return _Call(tuple(name for name in names if name in tensors), type(found), outputs)


def _replace(model: nn.Module, part: nn.Module, other: nn.Module) -> None:
    holder, name = next(
        (module, name) for module in model.modules() for name, own in module.named_children() if own is part
    )
    setattr(holder, name, other)


def _answer(kind: Any, outputs: tuple[str, ...], *tensors: torch.Tensor) -> Any:
    return kind(**dict(zip(outputs, tensors, strict=True)))
