"""Names of callers as other servers see them. Pure."""

from __future__ import annotations

import hashlib
from functools import lru_cache


@lru_cache(4096)
def hashed(name: str) -> str:
    """Hexadecimal digits that stand for a caller's name, however long and of whatever characters that is."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
