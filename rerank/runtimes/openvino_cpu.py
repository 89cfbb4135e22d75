"""OpenVINO on the CPU, converted from the torch module and kept on disk, so that the second start converts nothing."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from rerank.devices import has_native_bf16, import_openvino
from rerank.runtimes.base import MakeNetwork, Tensors

logger = logging.getLogger(__name__)

openvino = import_openvino()

_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
_MODEL = "model.xml"
# raised whenever what is converted changes, so that no stale copy is taken for it
_LAYOUT = 2


class OpenVinoRuntime:
    """A network compiled for this CPU."""

    device = "cpu"

    def __init__(
        self, make_network: MakeNetwork, example: Tensors, weights: Sequence[Path], precision: str, cache: Path
    ) -> None:
        """Take the converted network from ``cache``, or convert it and put it there.

        ``weights`` are the files the network is made from: another content is another network.
        """
        if precision == "bf16" and not has_native_bf16():
            logger.warning("this CPU does not multiply bf16 by itself: MODEL_PRECISION=fp32 is as fast and more exact")
        folder = cache / _key(weights, list(example))
        core = openvino.Core()
        network = _kept(core, folder)
        if network is None:
            network = _convert(make_network(torch.float32), example)
            _keep(network, folder)
        compiled = core.compile_model(
            network, "CPU", {"INFERENCE_PRECISION_HINT": _PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY"}
        )
        self._request = compiled.create_infer_request()
        self.description = f"openvino {openvino.__version__.split('-')[0]} {precision}"

    def __call__(self, tensors: Tensors) -> tuple[torch.Tensor, ...]:
        """See ``Runtime``."""
        outputs = self._request.infer({name: tensor.numpy() for name, tensor in tensors.items()})
        # the buffers belong to the request, which the next batch overwrites
        return tuple(torch.from_numpy(outputs[place].copy()) for place in range(len(outputs)))


def _convert(network: torch.nn.Module, example: Tensors) -> Any:
    started = time.monotonic()
    with warnings.catch_warnings():
        # tracing warns of every shape it looks at; the shapes stay dynamic, as the tests show
        warnings.simplefilter("ignore")
        converted = openvino.convert_model(network.eval(), example_input=dict(example))
    logger.info("converted for OpenVINO in %.1f s", time.monotonic() - started)
    return converted


def _kept(core: Any, folder: Path) -> Any | None:
    """The network an earlier start converted; None if there is none that can be read."""
    if not (folder / _MODEL).is_file():
        return None
    try:
        return core.read_model(folder / _MODEL)
    except RuntimeError as error:
        logger.warning("the converted network in %s cannot be read and is made anew: %s", folder.name, error)
        return None


def _keep(network: Any, folder: Path) -> None:
    """Write the network into ``folder``, whole or not at all. Where that fails, the next start converts again."""
    unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True)
        openvino.save_model(network, unfinished / _MODEL, compress_to_fp16=False)
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    except (OSError, RuntimeError) as error:
        logger.warning("the converted network cannot be kept for the next start: %s", error)
        shutil.rmtree(unfinished, ignore_errors=True)


def _key(weights: Sequence[Path], inputs: Sequence[str]) -> str:
    """Name of a converted network: everything its content depends on."""
    facts: dict[str, Any] = {
        "layout": _LAYOUT,
        "inputs": list(inputs),
        "versions": [openvino.__version__, torch.__version__, transformers.__version__],
        "weights": [_sha256(file) for file in weights],
        "config": [_sha256(file.parent / "config.json") for file in weights[:1]],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
