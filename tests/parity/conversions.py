"""Conversions that go wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from openvino.frontend.pytorch import ts_decoder


def convert_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have OpenVINO convert another network than it is given: one with other weights."""

    class Another(ts_decoder.TorchScriptPythonDecoder):  # type: ignore[misc]
        """Of the other network; of parts of a graph as they are."""

        def __init__(self, network: torch.nn.Module, *parts: Any, **options: Any) -> None:
            if options.get("example_input"):
                network = copy.deepcopy(network)
                for weight in network.parameters():
                    weight.data *= 1.01
            super().__init__(network, *parts, **options)

    monkeypatch.setattr(ts_decoder, "TorchScriptPythonDecoder", Another)
