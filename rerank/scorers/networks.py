"""Networks placed on a device: choice of the runtime, and maximum length."""

from __future__ import annotations

import logging

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.errors import WeightsBroken
from rerank.runtimes.base import MakeNetwork, Runtime, Tensors
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.runtimes.torch_packed import PackedRuntime, runs_packed
from rerank.runtimes.torch_padded import TorchRuntime
from rerank.scorers.base import Placement
from rerank.scorers.library_errors import shown_error

logger = logging.getLogger(__name__)


def open_body(
    make_network: MakeNetwork, example: Tensors, checkpoint: Checkpoint, placement: Placement
) -> RectangleRuntime | PackedRuntime:
    """A body that reads segments: packed where the device has kernels for it, else in a rectangle."""
    runtime = open_packed(make_network, example, checkpoint, placement)
    return runtime if isinstance(runtime, PackedRuntime) else RectangleRuntime(runtime)


def open_packed(
    make_network: MakeNetwork, example: Tensors, checkpoint: Checkpoint, placement: Placement
) -> Runtime | PackedRuntime:
    """The network packed where the device has kernels for it, else on the runtime that ``open_runtime`` chooses."""
    if runs_packed(placement.device):
        return PackedRuntime(make_network, placement.device)
    return open_runtime(make_network, example, checkpoint, placement)


def open_runtime(make_network: MakeNetwork, example: Tensors, checkpoint: Checkpoint, placement: Placement) -> Runtime:
    """OpenVINO where the device takes it and can convert the network, else torch; the log says which and why."""
    if not placement.device.openvino:
        return TorchRuntime(make_network, placement.device)
    from rerank.runtimes.openvino_cpu import OpenVinoRuntime

    precision = placement.device.precision
    try:
        return OpenVinoRuntime(make_network, example, checkpoint.weight_files, precision, placement.converted)
    except WeightsBroken:
        raise
    except Exception as error:
        # the converter does not know all networks, and its errors have no common class
        logger.warning(
            "%s runs in plain torch, which is slower: OpenVINO cannot convert it (%s)",
            checkpoint.folder.name,
            shown_error(error, checkpoint.folder),
        )
        return TorchRuntime(make_network, placement.device)


def fit_length(card: ModelCard, placement: Placement, checkpoint: Checkpoint, tokenizer_tokens: int | None) -> int:
    """Maximum tokens per pair: the setting, else the card's, else the tokenizer's; never more than the positions."""
    positions = checkpoint.max_positions
    # tokenizers without a limit store an enormous number
    own = tokenizer_tokens if tokenizer_tokens is not None and tokenizer_tokens < 10**9 else None
    wanted = placement.max_length or card.max_length or own or positions or 512
    return min(wanted, positions) if positions else wanted
