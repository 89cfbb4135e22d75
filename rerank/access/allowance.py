"""What is left of a key's minute, and the error when nothing is."""

from __future__ import annotations

from typing import NamedTuple

from rerank.core import Caller
from rerank.errors import RateLimited


class Allowance(NamedTuple):
    """What is left of a key's minute; None where it has no limit."""

    requests: int | None
    tokens: int | None


def requests_used_up(caller: Caller, seconds: float) -> RateLimited:
    """``seconds``: until the oldest request leaves the minute."""
    return _refusal(caller, f"{caller.requests_per_minute} requests", seconds)


def tokens_used_up(caller: Caller, missing: int) -> RateLimited:
    """``missing``: tokens that the request needs in addition to what is left."""
    most = caller.tokens_per_minute or missing
    return _refusal(caller, f"{most} tokens", 60 * missing / most)


def _refusal(caller: Caller, allowance: str, seconds: float) -> RateLimited:
    """``seconds``: estimated time until the allowance suffices again."""
    return RateLimited(
        f"The key {caller.name} has used up its {allowance} a minute. Try again later.",
        retry_after=min(max(seconds, 1.0), 60.0),
    )
