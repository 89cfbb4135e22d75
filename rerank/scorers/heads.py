"""Layers between a body's vectors and its logits, in fp32, for arrays and for tensors of torch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy

from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import Values, library, placed
from rerank.scorers.pretrained import read_tensor

_erf = numpy.vectorize(math.erf, otypes=[numpy.float32])


class Linear(NamedTuple):
    """A product and an addition."""

    weight: Values
    """Shape (out, in)."""
    bias: Values

    def __call__(self, vectors: Values) -> Values:
        """(pairs, in) to (pairs, out)."""
        return vectors @ self.weight.T + self.bias

    def on(self, device: str) -> Linear:
        """The layer where a runtime on this device returns its values."""
        return Linear(placed(self.weight, device), placed(self.bias, device))


def read_linear(checkpoint: Checkpoint, name: str) -> Linear:
    """The layer of this name, from the weights' file. Raises WeightsBroken if it is not there."""
    return Linear(*(read_tensor(checkpoint, f"{name}.{part}") for part in ("weight", "bias")))


def tanh(values: Values) -> Values:
    """Hyperbolic tangent."""
    return library(values).tanh(values)


def relu(values: Values) -> Values:
    """Negative numbers as 0."""
    return values.clip(0)


def gelu(values: Values) -> Values:
    """The exact one, by the error function, which numpy does not have."""
    if isinstance(values, numpy.ndarray):
        return values * (0.5 + 0.5 * _erf(values * math.sqrt(0.5)))
    return library(values).nn.functional.gelu(values)
