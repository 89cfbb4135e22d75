"""Fields that several tables of a models file have."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from rerank.units import parse_seconds

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


def one_of(names: Iterable[str]) -> AfterValidator:
    """One of these words."""
    known = tuple(names)

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"it has to be one of {', '.join(known)}")
        return name

    return AfterValidator(check)


def seconds(value: object) -> float:
    """Seconds from a number, or from text such as ``10m``. Raises ValueError."""
    if isinstance(value, str):
        return parse_seconds(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    raise ValueError('it has to be a number of seconds, or text such as "90s", "10m" or "1h"')
