"""The keys file (keys.toml): name, hash and limits of each key. The keys themselves are stored nowhere."""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from rerank.access.keyring import Keys, collect_keys, key_hash
from rerank.core import Caller
from rerank.errors import SettingsError
from rerank.schemas import Schema
from rerank.settings import Settings
from rerank.toml_file import read_toml

_Name = Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,64}$")]
_Hash = Annotated[str, StringConstraints(pattern="^[0-9a-fA-F]{64}$", to_lower=True)]
_Limit = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""The largest integer of TOML is its maximum."""
_OWNER_ONLY = 0o600
_NEW_KEY = "rerank key new NAME"


class KeyInFile(Schema):
    """One ``[[key]]`` table of a keys file."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: _Name
    sha256: _Hash
    models: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    requests_per_minute: _Limit | None = None
    tokens_per_minute: _Limit | None = None
    admin: Annotated[bool, Field(strict=True)] = False

    def caller(self) -> Caller:
        """The caller with this key."""
        return Caller(
            self.name,
            admin=self.admin,
            models=self.models,
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )


class _KeysFile(Schema):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key: tuple[KeyInFile, ...] = ()

    @model_validator(mode="after")
    def _has_each_once(self) -> _KeysFile:
        for field in ("name", "sha256"):
            counted = Counter(getattr(key, field) for key in self.key)
            if twice := next((value for value, times in counted.items() if times > 1), None):
                raise ValueError(f"two keys have the {field} {twice}")
        return self


def read_keys_file(path: Path) -> dict[str, Caller]:
    """Callers by the hash of their key; empty if the file does not exist. Raises SettingsError.

    A file without a key is an error: it would open the server to all clients.
    """
    callers = {key.sha256: key.caller() for key in read_toml(path, _KeysFile).key}
    if path.exists() and not callers:
        raise SettingsError(f"{path}: it holds no key; delete it to let all clients in, or add one: {_NEW_KEY}")
    return callers


def keys_of(settings: Settings) -> Keys:
    """All keys that the settings name, in the keys file or themselves. Raises SettingsError."""
    return collect_keys(settings.api_keys, settings.admin_keys, read_keys_file(settings.keys_file))


def add_key(path: Path, caller: Caller) -> str:
    """Create a key for the caller, add its hash to the file, and return the key, which is stored nowhere.

    Raises SettingsError if the file is wrong, cannot be written, or has the name already.
    """
    known = read_toml(path, _KeysFile).key
    if caller.name in {key.name for key in known}:
        raise SettingsError(f"{path}: there is a key {caller.name}; delete its entry first, or take another name")
    key = f"rk-{secrets.token_urlsafe(32)}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, _OWNER_ONLY)
        with os.fdopen(descriptor, "r+", encoding="utf-8") as file:
            file.write(_separator(file.read()) + _entry(caller, key_hash(key)))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be written: {error.strerror}") from error
    return key


def _separator(before: str) -> str:
    """An empty line between the entries, and the end of a line that has none."""
    if not before:
        return ""
    return "\n" if before.endswith("\n") else "\n\n"


def _entry(caller: Caller, sha256: str) -> str:
    lines = ["[[key]]", f'name = "{caller.name}"', f'sha256 = "{sha256}"']
    if caller.models is not None:
        lines.append(f"models = [{_quoted(caller.models)}]")
    if caller.requests_per_minute is not None:
        lines.append(f"requests_per_minute = {caller.requests_per_minute}")
    if caller.tokens_per_minute is not None:
        lines.append(f"tokens_per_minute = {caller.tokens_per_minute}")
    if caller.admin:
        lines.append("admin = true")
    return "\n".join(lines) + "\n"


def _quoted(names: Sequence[str]) -> str:
    # ids of models hold neither quotes nor backslashes
    return ", ".join(f'"{name}"' for name in names)
