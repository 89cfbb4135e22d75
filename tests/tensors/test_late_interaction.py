"""MaxSim, for arrays of numpy and for tensors of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
import torch

from rerank.runtimes.base import Values
from rerank.scorers.late_interaction.vectors import Stretch, TokenProjection, best_cosines, in_order

KINDS: list[tuple[Callable[[Any], Values], str]] = [(numpy.asarray, "cpu"), (torch.from_numpy, "cpu:0")]
"""What makes the values, and where they are: a runtime on ``cpu`` gives arrays, one on a GPU tensors."""


def vectors(make: Callable[[Any], Values], device: str) -> Values:
    numbers = numpy.random.default_rng(0).standard_normal((12, 4)).astype(numpy.float32)
    return TokenProjection([], device)(make(numbers))


@pytest.mark.parametrize(("make", "device"), KINDS, ids=["numpy", "torch"])
def test_each_token_of_a_query_meets_its_best_in_each_document(make: Callable[[Any], Values], device: str) -> None:
    rows = vectors(make, device)
    query, documents = Stretch(0, 3), [Stretch(7, 12), Stretch(3, 4), Stretch(4, 7)]

    scores = best_cosines(rows, query, documents, device)

    expected = [
        sum(max(float(one @ other) for other in rows[document.start : document.end]) for one in rows[:3])
        for document in documents
    ]
    assert scores.tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("make", "device"), KINDS, ids=["numpy", "torch"])
def test_scores_of_several_queries_go_to_their_places(make: Callable[[Any], Values], device: str) -> None:
    parts = [make(numpy.array(part, numpy.float32)) for part in ([0.0, 3.0], [1.0], [2.0, 4.0])]

    assert in_order(parts, [0, 3, 1, 2, 4], device).tolist() == [0, 1, 2, 3, 4]
