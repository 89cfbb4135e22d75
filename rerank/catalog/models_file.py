"""The models file (models.toml): the operator's cards, validated."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from rerank.activations import CHOOSABLE, SIGMOID, Activation
from rerank.catalog.cards import ModelCard, Precision
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, OF_CHECKPOINTS
from rerank.catalog.file_fields import Name, one_of, seconds
from rerank.catalog.names import is_plain
from rerank.catalog.prompts import PROMPTS, PromptFormat
from rerank.catalog.routes_file import RoutesInFile
from rerank.catalog.shadows_file import ShadowInFile
from rerank.catalog.text_prompts_file import TextPromptsInFile
from rerank.catalog.upstreams_file import UpstreamInFile
from rerank.schemas import Schema
from rerank.toml_file import read_toml
from rerank.units import expand_home, precision_name


def _plain(name: str) -> str:
    if not is_plain(name):
        raise ValueError(f"{name!r} is not a name: quotes, backslashes, control characters and `..` are not allowed")
    return name


_ModelName = Annotated[Name, AfterValidator(_plain)]
_Flag = Annotated[bool, Field(strict=True)]
_Label = Annotated[int, Field(strict=True, ge=0, lt=1000)]


def _named_prompt(value: object) -> object:
    """The prompt of a name in ``PROMPTS``; a table as it is. Raises ValueError."""
    if isinstance(value, dict) and any(isinstance(value.get(word), bool) for word in ("yes", "no")):
        raise ValueError("`yes` and `no` are tokens, or their numbers from 0")
    if not isinstance(value, str):
        return value
    if value not in PROMPTS:
        raise ValueError(f"it has to be one of {', '.join(PROMPTS)}, or a table of its texts")
    return PROMPTS[value]


class CardInFile(RoutesInFile):
    """One ``[[model]]`` table of a models file."""

    id: _ModelName
    aliases: tuple[Name, ...] = ()
    repo: Name | None = None
    revision: Name | None = None
    path: Annotated[Path, AfterValidator(expand_home)] | None = None
    family: Annotated[str, one_of(OF_CHECKPOINTS)] | None = None
    max_length: int | None = Field(default=None, ge=8, le=1_000_000)
    instruction: Name | None = None
    prompt: Annotated[PromptFormat, BeforeValidator(_named_prompt)] | None = None
    prompts: TextPromptsInFile | None = None
    labels: tuple[_Label, _Label] | None = None
    activation: Annotated[str, one_of(CHOOSABLE)] | None = None
    scale: float | None = Field(default=None, gt=0, allow_inf_nan=False, strict=True)
    precision: Annotated[Precision, BeforeValidator(precision_name)] | None = None
    shorter_vectors: _Flag = False
    special_tokens_in_text: _Flag = False
    normalize: Literal["nfkc"] | None = None
    sha256: str | None = None
    trust_remote_code: _Flag = False
    pinned: _Flag = False
    keep_alive: Annotated[float, BeforeValidator(seconds)] | None = None
    max_candidates: int | None = Field(default=None, ge=1, strict=True)
    long_documents: Literal["cut", "chunk"] | None = None
    calibration: Literal["auto"] | Annotated[Path, AfterValidator(expand_home)] | None = None
    upstream: UpstreamInFile | None = None
    shadow: ShadowInFile | None = None

    @model_validator(mode="after")
    def _is_one_kind_of_model(self) -> CardInFile:
        kinds = list(self.described)
        if len(kinds) > 1:
            raise ValueError(f"give one of {', '.join(f'`{kind}`' for kind in kinds)}")
        if kinds and (others := self.model_fields_set - {*kinds, "id", "aliases", "max_candidates", "shadow"}):
            raise ValueError(f"`{min(others)}` means nothing next to `{kinds[0]}`: its models have their own cards")
        return self

    @field_validator("sha256")
    @classmethod
    def _is_a_hash(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch("[0-9a-fA-F]{64}", value):
            raise ValueError("it has to be the 64 hexadecimal digits that `sha256sum model.safetensors` prints")
        return value and value.lower()

    @model_validator(mode="after")
    def _scales_a_sigmoid(self) -> CardInFile:
        if self.scale is not None and self.activation != SIGMOID.name:
            raise ValueError('`scale` divides the logit before the sigmoid: give `activation = "sigmoid"` with it')
        return self

    @model_validator(mode="after")
    def _tells_two_labels_apart(self) -> CardInFile:
        if self.labels is None:
            return self
        if self.labels[0] == self.labels[1]:
            raise ValueError("`labels` are two different ones: the score is the logit of the second less the first's")
        if self.family not in (None, CROSS_ENCODER):
            raise ValueError("`labels` are those of a head that classifies pairs")
        return self

    @model_validator(mode="after")
    def _asks_a_cross_encoder(self) -> CardInFile:
        if self.prompt is not None and self.family not in (None, CROSS_ENCODER):
            raise ValueError("`prompt` is how a cross-encoder is asked; no other model reads a prompt of a card")
        return self

    @model_validator(mode="after")
    def _prepends_to_an_embedding_models_texts(self) -> CardInFile:
        if self.prompts and (self.prompt or self.family not in (None, BI_ENCODER)):
            raise ValueError("`prompts` stand before the texts of an embedding model; a reranker has a `prompt`")
        return self

    @model_validator(mode="after")
    def _is_here_or_elsewhere(self) -> CardInFile:
        local = [name for name in _OF_WEIGHTS if name in self.model_fields_set]
        if self.upstream and local:
            raise ValueError(f"`{local[0]}` is for a model on this machine; it has no place next to `upstream`")
        return self

    @model_validator(mode="after")
    def _has_one_source(self) -> CardInFile:
        if self.path and (self.repo or self.revision):
            raise ValueError(f"give `{'repo' if self.repo else 'revision'}` or `path`, not both")
        if not (self.path or self.described or self.upstream):
            check_repository_name(self.repo or self.id)
        return self


_OF_WEIGHTS = (
    *("repo", "revision", "path", "family", "prompt", "prompts", "labels", "precision", "shorter_vectors"),
    *("special_tokens_in_text", "sha256", "trust_remote_code", "pinned", "keep_alive"),
)
"""Fields of a card that concern weights and their memory."""


class _ModelsFile(Schema):
    model_config = ConfigDict(extra="forbid")

    model: tuple[CardInFile, ...] = ()


def check_repository_name(name: str) -> None:
    """Raise ValueError unless the Hub could have a repository of this name."""
    # slow to import, and few servers have names to check
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name!r} cannot be a Hub repository; for a folder on this machine give `path`") from error


def read_models_file(path: Path) -> tuple[ModelCard, ...]:
    """Cards of a models file; none if there is no such file.

    A card with neither ``repo`` nor ``path`` takes its id as the Hub repository; a relative ``path`` starts at the
    file's own folder. Raises SettingsError naming the file and the entry.
    """
    return tuple(_card(entry, path.parent) for entry in read_toml(path, _ModelsFile).model)


def _card(entry: CardInFile, folder: Path) -> ModelCard:
    values = {name: value for name, value in entry if name not in RoutesInFile.model_fields}
    values["route"] = route = entry.route()
    values["repo"] = entry.repo or (None if entry.path or route or entry.upstream else entry.id)
    values["upstream"] = entry.upstream.upstream(folder) if entry.upstream else None
    values["shadow"] = entry.shadow.shadow() if entry.shadow else None
    values["prompts"] = entry.prompts.prompts() if entry.prompts else None
    values["path"] = (folder / entry.path).resolve() if entry.path else None
    values["activation"] = _activation(entry)
    values["calibration"] = _calibration(entry, folder)
    del values["scale"]
    return ModelCard(**values)


def _calibration(entry: CardInFile, folder: Path) -> Path | Literal["auto"] | None:
    return (folder / entry.calibration).resolve() if isinstance(entry.calibration, Path) else entry.calibration


def _activation(entry: CardInFile) -> Activation | None:
    chosen = CHOOSABLE[entry.activation] if entry.activation else None
    return replace(chosen, scale=entry.scale) if chosen and entry.scale else chosen
