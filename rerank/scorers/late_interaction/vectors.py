"""From a body's states to scores, in fp32, for arrays and for tensors of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import NamedTuple

import numpy

from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import Values, library, placed
from rerank.scorers.heads import Linear, of_length_one, read_linear
from rerank.scorers.late_interaction.procedure import Projection
from rerank.scorers.pretrained import read_tensor


class Projected(NamedTuple):
    """A linear layer, with what is added to its output."""

    linear: Linear
    added: Values | None = None
    """Weight of the layer through which its input is added; None where nothing is added, or the input itself."""
    residual: bool = False

    def __call__(self, vectors: Values) -> Values:
        """(tokens, in) to (tokens, out)."""
        # by the library for products, which ``Linear`` avoids for its few vectors: here are thousands
        result = vectors @ self.linear.weight.T + self.linear.bias
        if not self.residual:
            return result
        return result + (vectors if self.added is None else vectors @ self.added.T)

    def on(self, device: str) -> Projected:
        """The layer where a runtime on this device returns its values."""
        added = None if self.added is None else placed(self.added, device)
        return Projected(self.linear.on(device), added, self.residual)


def read_projection(checkpoint: Checkpoint, projection: Projection) -> Projected:
    """The layer, read from its files. Raises WeightsBroken where a weight is missing."""
    stored = replace(checkpoint, weight_files=projection.files)
    linear = read_linear(stored, "linear", bias=projection.bias)
    widens = projection.residual and linear.weight.shape[0] != linear.weight.shape[1]
    return Projected(linear, read_tensor(stored, "residual.weight") if widens else None, projection.residual)


class TokenProjection:
    """The layers behind a body, and vectors of length 1."""

    def __init__(self, layers: Sequence[Projected], device: str) -> None:
        self._layers = [layer.on(device) for layer in layers]

    def __call__(self, states: Values) -> Values:
        """(tokens, hidden) to (tokens, dimensions)."""
        for layer in self._layers:
            states = layer(states)
        return of_length_one(states)


class Stretch(NamedTuple):
    """Rows of one text's vectors."""

    start: int
    end: int

    @property
    def rows(self) -> numpy.ndarray:
        """Each row."""
        return numpy.arange(self.start, self.end)


def stretches_of(lengths: Sequence[int], start: int = 0) -> list[Stretch]:
    """Where texts with these numbers of vectors lie, end to end."""
    ends = list(accumulate(lengths, initial=start))
    return [Stretch(*both) for both in pairwise(ends)]


def joined(vectors: numpy.ndarray, known: Sequence[numpy.ndarray]) -> tuple[numpy.ndarray, list[Stretch]]:
    """The vectors with those of known documents behind them, and where each known document's lie."""
    return numpy.concatenate([vectors, *known]), stretches_of([len(each) for each in known], len(vectors))


def best_cosines(vectors: Values, query: Stretch, documents: Sequence[Stretch], device: str) -> Values:
    """MaxSim of a query with each document, of shape (documents): the best cosine of each of its tokens, added up.

    ``vectors`` have length 1. Each document has at least one.
    """
    rows = numpy.concatenate([document.rows for document in documents])
    cosines = vectors[placed(rows, device)] @ vectors[query.start : query.end].T
    return _best(cosines, [document.end - document.start for document in documents], device).sum(-1)


def _best(cosines: Values, lengths: Sequence[int], device: str) -> Values:
    """(tokens of all documents, tokens of the query) to the maxima of each document."""
    if isinstance(cosines, numpy.ndarray):
        return numpy.maximum.reduceat(cosines, numpy.cumsum([0, *lengths[:-1]]), axis=0)
    owners = placed(numpy.repeat(numpy.arange(len(lengths)), lengths), device)
    lowest = cosines.new_full((len(lengths), cosines.shape[1]), -2.0)
    return lowest.scatter_reduce(0, owners[:, None].expand_as(cosines), cosines, "amax")


def in_order(parts: Sequence[Values], places: Sequence[int], device: str) -> Values:
    """Parts end to end, of which each value goes to its place."""
    joined = library(parts[0]).concatenate(list(parts))
    return joined[placed(numpy.argsort(places), device)]
