"""What counts as a failure, and the loop that looks for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import FlakyFailure
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")
Note = Callable[..., None]
"""Takes the statuses of a case's answers."""
_BY_CONTRACT = (503, 504)
"""A model that cannot be had, a time that has run out."""
_TEI_FAILED = 424
"""What text-embeddings-inference's clients know a 500 as."""
_OURS = b"(request id "
"""In the message of every error that is the server's own fault."""
_SHOWN = 3000


class Objection(AssertionError):
    """An answer that should not be; the text shows what was sent."""


def judge(status: int, content: bytes, sent: object) -> None:
    """Raise an Objection if the answer is a failure of the server."""
    failed = status >= 500 and status not in _BY_CONTRACT
    if failed or status == _TEI_FAILED or _OURS in content:
        raise Objection(f"answered with {status} {content[:200]!r}: {shown(sent)}")


def shown(sent: object) -> str:
    """What was sent, as it can be sent again."""
    text = repr(sent)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def fuzz(strategy: SearchStrategy[T], check: Callable[[T], None], seed: int, cases: int) -> None:
    """Check so many examples. Raises the Objection of the simplest one that has any."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=cases,
        database=None,
        deadline=None,
        derandomize=False,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(strategy)
    def every(example: T) -> None:
        check(example)

    try:
        every()
    except FlakyFailure as failure:
        # it did not show a second time; what it was the first time counts
        raise Objection(f"once: {failure.exceptions[0]}") from failure
