"""Layers between a body's vectors and its logits, in fp32, for arrays and for tensors of torch."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy

from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import Values, library, placed
from rerank.scorers.pretrained import read_tensor

_LEAST_LENGTH = 1e-12
"""Of what a vector is divided by, as in torch's ``normalize``."""
_erf = numpy.vectorize(math.erf, otypes=[numpy.float32])


def product(vectors: Values, rows: Values) -> Values:
    """(pairs, in) and (out, in) to (pairs, out)."""
    if isinstance(vectors, numpy.ndarray):
        # not by numpy's library for products, whose threads then spin on the cores that the next batch needs
        return numpy.einsum("pi,oi->po", vectors, rows)
    return vectors @ rows.T


class Linear(NamedTuple):
    """A product and an addition."""

    weight: Values
    """Shape (out, in)."""
    bias: Values

    def __call__(self, vectors: Values) -> Values:
        """(pairs, in) to (pairs, out)."""
        return product(vectors, self.weight) + self.bias

    def on(self, device: str) -> Linear:
        """The layer where a runtime on this device returns its values."""
        return Linear(placed(self.weight, device), placed(self.bias, device))


class Norm(NamedTuple):
    """Numbers of each vector with the mean 0 and the variance 1, a product and an addition."""

    weight: Values
    bias: Values
    epsilon: float

    def __call__(self, vectors: Values) -> Values:
        """The shape stays."""
        apart = vectors - vectors.mean(axis=-1, keepdims=True)
        variance = (apart * apart).mean(axis=-1, keepdims=True)
        return apart / (variance + self.epsilon) ** 0.5 * self.weight + self.bias

    def on(self, device: str) -> Norm:
        """See ``Linear.on``."""
        return Norm(placed(self.weight, device), placed(self.bias, device), self.epsilon)


def read_linear(checkpoint: Checkpoint, name: str, *, bias: bool = True) -> Linear:
    """The layer of this name, from the weights' file. Raises WeightsBroken if it is not there."""
    return Linear(*_read(checkpoint, name, bias=bias))


def read_norm(checkpoint: Checkpoint, name: str, epsilon: float, *, bias: bool = True) -> Norm:
    """The same for a norm."""
    return Norm(*_read(checkpoint, name, bias=bias), epsilon)


def _read(checkpoint: Checkpoint, name: str, *, bias: bool) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Weight and bias, which may be none."""
    weight = read_tensor(checkpoint, f"{name}.weight")
    return weight, read_tensor(checkpoint, f"{name}.bias") if bias else numpy.zeros(len(weight), numpy.float32)


def of_length_one(vectors: Values) -> Values:
    """The vectors divided by their lengths; one without a direction stays as it is."""
    return vectors / ((vectors * vectors).sum(-1)[..., None] ** 0.5).clip(_LEAST_LENGTH)


def identity(values: Values) -> Values:
    """The values themselves."""
    return values


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
