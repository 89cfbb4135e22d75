"""Settings of what is kept between requests, in this process or for several."""

from __future__ import annotations

from rerank.settings.sources import SourcedSettings, setting
from rerank.settings.values import Amount, CachePlace, RedisAddress, Seconds


class StateSettings(SourcedSettings):
    """Several servers"""

    state_url: RedisAddress | None = setting(
        "RERANK_STATE_URL",
        None,
        "Redis server on which several servers count together what keys use, and keep their cache: "
        "redis://HOST:PORT/0 (rediss:// with TLS). Default: none, every server counts for itself.",
        repr=False,
    )


class CacheSettings(SourcedSettings):
    """Cache"""

    cache: CachePlace | None = setting(
        "RERANK_CACHE",
        None,
        "Where scores of pairs are kept, as hashes and numbers: off, memory, file:PATH (SQLite, survives restarts) or "
        "redis://HOST:PORT/0 (rediss:// with TLS; shared by several servers). Default: RERANK_STATE_URL if set, "
        "otherwise memory.",
        repr=False,
    )
    cache_ttl: Seconds = setting(
        "RERANK_CACHE_TTL", 3600, "Time to keep a score: seconds, 10m or 1h.", gt=0, allow_inf_nan=False
    )
    cached_pairs: int = setting(
        "RERANK_CACHED_PAIRS",
        100_000,
        "Maximum scores in memory (each takes 0.35 kB) or in the file (0.1 kB); 0: no cache. Redis has limits of its "
        "own.",
        ge=0,
    )
    vector_cache: Amount = setting(
        "RERANK_VECTOR_CACHE",
        "64MB",
        "Memory in which each embedding or late-interaction model on a CPU keeps vectors of documents, in addition to "
        "the model's: a document that is asked about again is not computed again. 0, or RERANK_CACHE=off: none.",
    )
