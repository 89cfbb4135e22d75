"""Known keys and their callers. Holds hashes only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rerank.core import Caller
from rerank.errors import SettingsError

Resolve = Callable[[str], str]
"""From any name of a model to its id. Raises SettingsError."""


def key_hash(key: str) -> str:
    """SHA-256 of a key as hexadecimal digits.

    A fast hash is enough for keys of 256 random bits, which cannot be guessed; for passwords it would not be.
    """
    # a header may hold bytes that are no text
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True, slots=True)
class Keys:
    """Callers by the hash of their key. ``guarded`` is False if scoring needs no key."""

    callers: Mapping[str, Caller]
    guarded: bool

    @property
    def has_admins(self) -> bool:
        """True if some key is an operator's."""
        return any(caller.admin for caller in self.callers.values())

    def allowing(self, resolve: Resolve) -> Keys:
        """The same keys with models by id. Raises SettingsError naming the key and the unknown model."""
        return replace(self, callers={key: _resolved(caller, resolve) for key, caller in self.callers.items()})


class Keyring:
    """Keys that can be changed while the server runs. Belongs to the event loop's thread."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    @property
    def guarded(self) -> bool:
        """False if scoring needs no key."""
        return self.keys.guarded

    def check(self, fresh: Keys, file: Path) -> None:
        """Raise SettingsError if the fresh keys, of a file, would open a server that is guarded."""
        if self.guarded and not fresh.guarded:
            raise SettingsError(
                f"{file}: no key is left, which would open the server to all clients; restart it if that is meant"
            )

    def caller_of(self, key: str) -> Caller | None:
        """The caller of a key; None for a wrong one. Every hash is compared, so the time taken reveals nothing."""
        digest = key_hash(key)
        matches = [caller for known, caller in self.keys.callers.items() if hmac.compare_digest(known, digest)]
        return matches[0] if matches else None


def collect_keys(
    api_keys: Sequence[str] = (), admin_keys: Sequence[str] = (), named: Mapping[str, Caller] | None = None
) -> Keys:
    """Keys from the settings, all equal, and ``named`` ones by their hash. An admin key may do what any key may."""
    plain = {key_hash(key): Caller(_numbered("api-key", number)) for number, key in enumerate(api_keys, 1)}
    admins = {
        key_hash(key): Caller(_numbered("admin-key", number), admin=True) for number, key in enumerate(admin_keys, 1)
    }
    named = named or {}
    guarded = bool(api_keys) or any(not caller.admin for caller in named.values())
    return Keys(plain | dict(named) | admins, guarded)


def _numbered(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"


def _resolved(caller: Caller, resolve: Resolve) -> Caller:
    if caller.models is None:
        return caller
    try:
        return replace(caller, models=tuple(resolve(name) for name in caller.models))
    except SettingsError as error:
        raise SettingsError(f"key {caller.name}: {error}") from error
