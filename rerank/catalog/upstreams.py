"""Upstreams as a card describes them: models behind another server's API. Data only."""

from __future__ import annotations

import math
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

HOPS_HEADER = "X-Rerank-Hops"
"""Servers of this kind that a request has passed: a loop of upstreams ends where there are ``MAX_HOPS``."""
MAX_HOPS = 3
hops_var: ContextVar[int] = ContextVar("hops", default=0)
"""Hops of the current request before this server."""
deadline_var: ContextVar[float] = ContextVar("deadline", default=math.inf)
"""Moment of ``time.monotonic`` by which the current request wants the model's answer: no call is repeated after it."""


@dataclass(frozen=True)
class Upstream:
    """Where a model behind another API is, and how it is asked."""

    api: str
    """Name in ``rerank_apis.APIS``."""
    url: str | None = None
    """A server's root, or the whole address; None takes the API's own."""
    model: str | None = None
    """The model's name there; None takes the default of the API's own service, elsewhere the card's id."""
    key_env: str | None = None
    """Environment variable that holds the key."""
    key_file: Path | None = None
    """File that holds the key."""
    timeout: float = 30.0
    """Maximum seconds per call, its retries included."""
    max_documents: int | None = None
    """Maximum documents per call; None takes the API's limit."""
    max_concurrency: int = 16
    """Maximum calls at the same time."""
    trust_env: bool = False
    """True goes through the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name."""
