"""Keys of upstreams, from the environment or from a file."""

from __future__ import annotations

import os

from pydantic import SecretStr

from rerank.catalog.cards import ModelCard
from rerank.catalog.upstreams import Upstream
from rerank.errors import SettingsError
from rerank.text_file import UnfitFile, read_text

_MAX_BYTES = 4096


def read_key(card: ModelCard) -> SecretStr | None:
    """The key of a card's upstream; None if it needs none. Raises SettingsError naming card and source, never the key.

    To be called at start, so that a missing key stops it, and again when the model is first used.
    """
    upstream = card.upstream
    if upstream is None or not (upstream.key_env or upstream.key_file):
        return None
    source, key = _from_environment(upstream) if upstream.key_env else _from_file(upstream)
    if key is None:
        raise SettingsError(f"{card.id}: upstream: {source}")
    # anything else could not stand in a header, or would be taken for two
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise SettingsError(f"{card.id}: upstream: {source} holds no key: a key is printable ASCII without spaces")
    return SecretStr(key)


def _from_environment(upstream: Upstream) -> tuple[str, str | None]:
    key = os.environ.get(upstream.key_env or "", "").strip()
    named = f"the environment variable {upstream.key_env} (key_env)"
    return (named, key) if key else (f"{named} is not set", None)


def _from_file(upstream: Upstream) -> tuple[str, str | None]:
    path = upstream.key_file
    try:
        key = read_text(path, _MAX_BYTES).strip() if path else ""
    except (UnfitFile, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return f"the file {path} (key_file) cannot be read: {reason}", None
    named = f"the file {path} (key_file)"
    return (named, key) if key else (f"{named} is empty", None)
