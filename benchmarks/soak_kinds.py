"""All kinds of requests of a soak, and a client's way through them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from benchmarks.soak_routes import ROUTED_KINDS
from benchmarks.soak_traffic import PLAIN_KINDS, Call, Case, Kind

KINDS = (*PLAIN_KINDS, *ROUTED_KINDS)


def traffic(number: int, seed: int, cases: Sequence[Case]) -> Iterator[tuple[Kind, Call]]:
    """What a client sends, without end. Each begins with a kind of its own, so that none is left to chance."""
    random = Random(f"{seed}/{number}")  # noqa: S311
    kind = KINDS[number % len(KINDS)]
    while True:
        yield kind, kind.make(random, cases)
        kind = random.choices(KINDS, [kind.share for kind in KINDS])[0]
