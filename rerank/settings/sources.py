"""Sources of settings: the environment, then `.env`."""

from __future__ import annotations

from typing import Any

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from rerank.settings.service_links import without_service_links

ENV_FILE = ".env"
ENV_ENCODING = "utf-8-sig"
"""Editors on Windows put a byte order mark in front, which would become part of the first name."""


class SourcedSettings(BaseSettings):
    """Base of the groups of settings."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=ENV_FILE,
        env_file_encoding=ENV_ENCODING,
        extra="ignore",
        # an empty line in .env, as `RERANK_API_KEY=`, means the default
        env_ignore_empty=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The ordinary sources, without what Kubernetes puts into the environment for its services."""
        if isinstance(env_settings, EnvSettingsSource):
            env_settings.env_vars = without_service_links(env_settings.env_vars)
        return super().settings_customise_sources(
            settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
        )


def setting(names: str, default: Any, description: str, **constraints: Any) -> Any:
    """A field with its names in the environment, the clearest first."""
    alias = AliasChoices(*names.lower().split())
    return Field(default=default, validation_alias=alias, description=description, **constraints)
