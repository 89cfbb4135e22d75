"""The floor of a model: the matrix products of its layers, which every token that it reads has to pass. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

_IN_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.\d+\.")
_MATRIX = 2


def layer_matrices(shapes: Mapping[str, Sequence[int]]) -> list[tuple[int, int]]:
    """Rows and columns of all matrices of the layers, by the names and shapes of the weights."""
    inside = (shape for name, shape in shapes.items() if _IN_LAYER.search(name))
    return [(shape[0], shape[1]) for shape in inside if len(shape) == _MATRIX]


def largest(matrices: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The largest matrix."""
    return max(matrices, key=math.prod)


def operations(matrices: Sequence[tuple[int, int]], tokens: int) -> int:
    """Multiply-adds x 2 of ``tokens`` tokens with all matrices."""
    return 2 * tokens * sum(map(math.prod, matrices))
