"""All settings of the server in one frozen record."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pydantic import AliasChoices

from rerank.settings.groups import (
    AccessSettings,
    ApiSettings,
    DeviceSettings,
    LimitSettings,
    LogSettings,
    ModelSettings,
    NetworkSettings,
)
from rerank.settings.kept import CacheSettings, StateSettings
from rerank.settings.values import bytes_of, split

GROUPS = (
    NetworkSettings,
    AccessSettings,
    ModelSettings,
    DeviceSettings,
    LimitSettings,
    StateSettings,
    CacheSettings,
    ApiSettings,
    LogSettings,
)
"""In the order of the help."""


# pydantic takes the fields of the last base first
class Settings(
    LogSettings,
    ApiSettings,
    CacheSettings,
    StateSettings,
    LimitSettings,
    DeviceSettings,
    ModelSettings,
    AccessSettings,
    NetworkSettings,
):
    """All settings; see `rerank.settings.groups`."""

    @property
    def api_keys(self) -> tuple[str, ...]:
        """API keys in plain text; none means that the server is open."""
        return split(self.api_key.get_secret_value()) if self.api_key else ()

    @property
    def admin_keys(self) -> tuple[str, ...]:
        """Admin keys in plain text; none means that only clients on this machine may administer."""
        return split(self.admin_key.get_secret_value()) if self.admin_key else ()

    @property
    def preloaded_models(self) -> tuple[str, ...] | None:
        """Names of the models to load at start; None for the default model, if it is on disk."""
        if self.preload is None:
            return None
        return () if self.preload.strip().lower() == "none" else split(self.preload)

    @property
    def cache_place(self) -> str:
        """Where scores are kept: with the state that servers share, unless something else is set."""
        return self.cache or self.state_url or "memory"

    @property
    def vector_cache_bytes(self) -> int:
        """Memory for vectors of documents, of each model; none where no cache is wanted."""
        return 0 if self.cache_place == "off" else bytes_of(self.vector_cache)

    @property
    def min_free_bytes(self) -> int:
        """Minimum bytes of the disk that downloads leave free."""
        return bytes_of(self.min_free_disk)

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Origins of web pages whose scripts may use the server."""
        return split(self.cors_origins or "")

    @property
    def host_names(self) -> tuple[str, ...]:
        """Host names under which a server without a key answers, in addition to those of this machine."""
        return split(self.allowed_hosts or "")

    def listen_host(self, *, guarded: bool) -> str:
        """The address to listen on: open to others only if keys guard it or the operator says so."""
        everywhere = "0.0.0.0"  # noqa: S104  # nosec B104  # only where keys guard it
        return self.host or (everywhere if guarded else "127.0.0.1")

    @property
    def local_host(self) -> str:
        """The address of the server for clients on this machine."""
        host = self.host or "127.0.0.1"
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # nosec B104


@cache
def setting_names() -> Mapping[str, tuple[str, ...]]:
    """Environment names of every setting, by field."""
    names: dict[str, tuple[str, ...]] = {}
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        names[field] = tuple(str(name).upper() for name in alias.choices) if isinstance(alias, AliasChoices) else ()
    return names
