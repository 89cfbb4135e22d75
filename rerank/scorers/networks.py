"""Networks placed on a device: choice of the runtime, and maximum length."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.devices import runs_packed
from rerank.errors import WeightsBroken
from rerank.runtimes.base import Inputs, MakeNetwork, Runtime
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.scorers.base import Placement
from rerank.scorers.library_errors import shown_error

if TYPE_CHECKING:
    import torch
    from torch import nn

    from rerank.runtimes.torch_packed import PackedRuntime

logger = logging.getLogger(__name__)

_VARIES = {"dynamic", "longrope"}
"""Rotary positions that change with the length of a text; a converted network would keep those of one length."""


class WalkedElsewhere(NamedTuple):
    """What tells whether a network whose loop over the layers is transformers' own may be converted."""

    trial: Inputs
    """Inputs of which a conversion has to compute what torch does."""
    config: Mapping[str, Any]
    """Its configuration."""


def open_body(
    make_network: MakeNetwork, example: Inputs, checkpoint: Checkpoint, placement: Placement, *, packs: bool = True
) -> RectangleRuntime | PackedRuntime:
    """A body that reads segments: packed if it ``packs`` and the device has kernels for it, else in a rectangle."""
    packed = open_packed(make_network, placement) if packs else None
    return packed or RectangleRuntime(open_runtime(make_network, example, checkpoint, placement))


def open_packed(make_network: MakeNetwork, placement: Placement) -> PackedRuntime | None:
    """The network packed; None where the device has no kernels for it."""
    if not runs_packed(placement.device):
        return None
    from rerank.runtimes.torch_packed import PackedRuntime
    from rerank.scorers.rotary import pair_positions

    def in_pairs(dtype: torch.dtype) -> nn.Module:
        network = make_network(dtype)
        pair_positions(network)
        return network

    return PackedRuntime(in_pairs, placement.device)


def open_runtime(
    make_network: MakeNetwork,
    example: Inputs,
    checkpoint: Checkpoint,
    placement: Placement,
    walked: WalkedElsewhere | None = None,
) -> Runtime:
    """OpenVINO where ``open_converted`` takes the network, else torch; the log says which and why."""
    return open_converted(make_network, example, checkpoint, placement, walked) or _in_torch(make_network, placement)


def open_converted(
    make_network: MakeNetwork,
    example: Inputs,
    checkpoint: Checkpoint,
    placement: Placement,
    walked: WalkedElsewhere | None,
) -> Runtime | None:
    """The network in OpenVINO; None where the device does not take it, or it cannot be converted, as the log says."""
    if not placement.device.openvino:
        return None
    trial, config = walked or (None, None)
    if reason := _unconverted(config or {}):
        logger.warning("%s runs in plain torch, which is slower: %s", checkpoint.folder.name, reason)
        return None
    from rerank.runtimes.openvino_cpu import OpenVinoRuntime

    precision = placement.device.precision
    try:
        return OpenVinoRuntime(make_network, example, checkpoint.weight_files, precision, placement.converted, trial)
    except WeightsBroken:
        raise
    except Exception as error:
        # the converter does not know all networks, and its errors have no common class
        logger.warning(
            "%s runs in plain torch, which is slower: OpenVINO cannot convert it (%s)",
            checkpoint.folder.name,
            shown_error(error, checkpoint.folder),
        )
        return None


def _unconverted(config: Mapping[str, Any]) -> str | None:
    """Why no conversion of such a network is tried; None if one is."""
    if varying := sorted(_VARIES & set(_rotary_kinds(config))):
        return f"its rotary positions are {varying[0]}"
    return "a converted YOSO fails on a text alone" if config.get("model_type") == "yoso" else None


def _rotary_kinds(settings: Any) -> Iterator[str]:
    """Every kind of rotary positions in a configuration."""
    if isinstance(settings, Mapping):
        yield from (str(settings[key]) for key in ("rope_type", "type") if key in settings)
        for value in settings.values():
            yield from _rotary_kinds(value)


def _in_torch(make_network: MakeNetwork, placement: Placement) -> Runtime:
    # importing torch takes seconds, which a converted network does not need
    from rerank.runtimes.torch_padded import TorchRuntime

    return TorchRuntime(make_network, placement.device)


def needs_torch(checkpoint: Checkpoint, placement: Placement) -> bool:
    """True unless an earlier start converted the network for OpenVINO."""
    if not placement.device.openvino:
        return True
    from rerank.runtimes.openvino_cpu import is_kept

    return not is_kept(checkpoint.weight_files, placement.device.precision, placement.converted)


def fit_length(card: ModelCard, placement: Placement, checkpoint: Checkpoint, tokenizer_tokens: int | None) -> int:
    """Maximum tokens per pair: the setting, else the card's, else the tokenizer's; never more than the positions."""
    positions = checkpoint.max_positions
    # tokenizers without a limit store an enormous number
    own = tokenizer_tokens if tokenizer_tokens is not None and tokenizer_tokens < 10**9 else None
    wanted = placement.max_length or card.max_length or own or positions or 512
    return min(wanted, positions) if positions else wanted
