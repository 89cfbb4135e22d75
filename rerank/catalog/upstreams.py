"""Upstreams as a card describes them: models behind another server's API. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where a model behind another API is, and how it is asked."""

    api: str
    """Name of a codec in ``backends.remote``."""
    url: str | None = None
    """A server's root, or the whole address; None takes the API's own."""
    model: str | None = None
    """The model's name there; None takes the API's default, or else the card's id."""
    key_env: str | None = None
    """Environment variable that holds the key."""
    key_file: Path | None = None
    """File that holds the key."""
    timeout: float = 30.0
    """Maximum seconds per call."""
    max_documents: int | None = None
    """Maximum documents per call; None takes the API's limit."""
    max_concurrency: int = 16
    """Maximum calls at the same time."""
    trust_env: bool = False
    """True goes through the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name."""
