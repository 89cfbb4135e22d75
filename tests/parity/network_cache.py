"""A cache of the smallest network there is. Imports no transformers, which takes a process longer than the rest."""

from __future__ import annotations

from pathlib import Path

import numpy
import torch
from safetensors.torch import save_file
from torch import nn

from rerank.runtimes.openvino_cpu import OpenVinoRuntime

EXAMPLE = {"input": numpy.ones((2, 8), numpy.float32)}


class Cache:
    """Starts on one cache, and the conversions that they made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / ".openvino"
        self.conversions = 0
        folder.mkdir(exist_ok=True)
        self._weights = folder / "model.safetensors"
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self._network = nn.Linear(8, 4)
        save_file(self._network.state_dict(), self._weights)
        (folder / "config.json").write_text("{}")

    def start(self) -> list[float]:
        """What the network gives at a start of the server."""
        runtime = OpenVinoRuntime(self._make, EXAMPLE, [self._weights], "fp32", self.folder)
        (output,) = runtime(EXAMPLE)
        given: list[float] = output.flatten().tolist()
        return given

    @property
    def kept(self) -> list[Path]:
        """Folders of converted networks, finished or not."""
        return list(self.folder.glob("*/"))

    def _make(self, _: torch.dtype) -> nn.Module:
        self.conversions += 1
        return self._network
