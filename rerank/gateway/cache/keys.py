"""Keys of pairs, and scores as the stores keep them: hashes and numbers, never a text. Pure."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rerank.core import Pair, RawScore, ScoringOptions

_DIGEST_BYTES = 16
_LAYOUT = b"2"
"""Raised when keys or scores are written in another way: stores survive a new version of this server."""
_SCORE = struct.Struct("<dIB")
_TRUNCATED = (False, True, None)


def keys_of(fingerprint: str, pairs: Sequence[Pair], options: ScoringOptions) -> Iterator[bytes]:
    """The key of each pair: a digest of everything that its score depends on."""
    facts = [fingerprint, repr(_facts(options))]
    begun = {query: _begun([*facts, query]) for query in {pair.query for pair in pairs}}
    for pair in pairs:
        key = begun[pair.query].copy()
        key.update(_bytes(pair.document))
        yield key.digest()


def pack(score: RawScore) -> bytes:
    """A score as it is kept."""
    return _SCORE.pack(score.logit, score.tokens, _TRUNCATED.index(score.truncated))


def unpack(kept: bytes | None) -> RawScore | None:
    """The score that was kept; None for what is no score."""
    if kept is None or len(kept) != _SCORE.size:
        return None
    logit, tokens, truncated = _SCORE.unpack(kept)
    known = math.isfinite(logit) and truncated < len(_TRUNCATED)
    return RawScore(logit, tokens, _TRUNCATED[truncated]) if known else None


def _facts(options: ScoringOptions) -> dict[str, Any]:
    """Every field that a score depends on: all but whether it may be one that is kept."""
    facts = asdict(options)
    del facts["cached"]
    return facts


def _begun(texts: Iterable[str]) -> hashlib.blake2b:
    """A digest of these texts, to be continued: each is digested alone, so that it is clear where it ends."""
    begun = hashlib.blake2b(_LAYOUT, digest_size=_DIGEST_BYTES)
    for text in texts:
        begun.update(hashlib.blake2b(_bytes(text), digest_size=_DIGEST_BYTES).digest())
    return begun


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
