"""How a cluster runs, as the command line or a file of `serve deploy` says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings

SERVER = "rerank.server.build:app_from_settings"
FILES = ("models_file", "keys_file")
"""Settings that name a file which can be read again."""


class ClusterOptions(BaseModel):
    """Everything but the settings of the servers themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    replicas: int = Field(default=1, ge=1, le=1000, description="Replicas at the start.")
    min_replicas: int | None = Field(
        default=None, ge=1, le=1000, description="Minimum replicas. Default: --replicas, or 1 with --max-replicas."
    )
    max_replicas: int | None = Field(
        default=None, ge=1, le=1000, description="Maximum replicas. Default: --replicas, or --min-replicas."
    )
    num_gpus: int = Field(default=0, ge=0, le=64, description="GPUs of a replica, each with a copy of every model.")
    num_cpus: float = Field(default=1, ge=0, le=1024, description="CPU cores that Ray reserves for a replica.")
    ingresses: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Processes that read requests and choose a replica for each; one serves while another is replaced.",
    )
    target_backlog: float = Field(
        default=5.0, gt=0, allow_inf_nan=False, description="Seconds of work per replica to scale for."
    )
    upscale_delay: float = Field(
        default=10.0, ge=0, allow_inf_nan=False, description="Seconds that more must be wanted before one is added."
    )
    downscale_delay: float = Field(
        default=300.0, ge=0, allow_inf_nan=False, description="Seconds that less must be wanted before one is removed."
    )
    settings: Mapping[str, str] = Field(default_factory=dict)
    """Settings of the servers, by their names in the environment, which they override."""
    server: str = SERVER
    """What makes a server of settings, as module:function."""

    @model_validator(mode="after")
    def _bounds_are_in_order(self) -> ClusterOptions:
        low, high = self.bounds
        if not low <= self.replicas <= high:
            raise ValueError(
                f"min_replicas ({low}) <= replicas ({self.replicas}) <= max_replicas ({high}) does not hold"
            )
        return self

    @property
    def scales(self) -> bool:
        """True if the number of replicas follows the backlog."""
        return self.bounds[0] != self.bounds[1]

    @property
    def bounds(self) -> tuple[int, int]:
        """Minimum and maximum of replicas."""
        high = self.max_replicas or max(self.replicas, self.min_replicas or 1)
        low = self.min_replicas or (1 if self.max_replicas else self.replicas)
        return low, high


def read_options(given: Mapping[str, Any]) -> ClusterOptions:
    """The options of these names. Raises SettingsError naming the one that is wrong."""
    try:
        return ClusterOptions(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_explained(each["loc"], each["msg"]) for each in error.errors())) from error


def _explained(place: tuple[int | str, ...], message: str) -> str:
    message = message.removeprefix("Value error, ")
    return f"{place[0]}: {message}" if place else message


def cluster_settings(options: ClusterOptions) -> Settings:
    """The servers' settings: those given, of the environment and of `.env`. Raises SettingsError.

    Relative paths are made absolute: Ray starts the servers in folders of its own choice.
    """
    settings = read_settings({name.lower(): value for name, value in options.settings.items()})
    files: dict[str, Path] = {name: getattr(settings, name) for name in FILES}
    # one that need not exist, and does not, keeps its name: by that the server knows that it is the default
    paths = {name: file.absolute() for name, file in files.items() if file.exists()}
    paths["models_dir"] = settings.models_dir.absolute()
    several = {"device": "cuda"} if options.num_gpus > 1 and settings.device == "auto" else {}
    return settings.model_copy(update={**paths, **several})
