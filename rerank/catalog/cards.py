"""Model cards: what the server knows of a model before it loads it. Data only; nothing here guesses from a name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from rerank.errors import SettingsError

EMBEDDED_MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
LARGE_MODEL_ID = "BAAI/bge-reranker-large"
MULTILINGUAL_MODEL_ID = "BAAI/bge-reranker-v2-m3"


class Family(StrEnum):
    """How a checkpoint turns a pair into a score."""

    CROSS_ENCODER = "cross-encoder"
    """Query and document are read together; a head gives one logit, or a language model is asked yes or no."""
    BI_ENCODER = "bi-encoder"
    """Query and document are embedded apart; the score is their cosine."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model: its names, where it comes from, and what overrides its checkpoint."""

    id: str
    """The name the model is served under, for example ``BAAI/bge-reranker-base``."""
    aliases: tuple[str, ...] = ()
    repo: str | None = None
    """Hub repository; None for a model that exists only on disk."""
    revision: str | None = None
    """Branch, tag or commit of the repository; None means its default branch."""
    path: Path | None = None
    """Folder of the weights; None means ``<models_dir>/<basename>``, then the Hub."""
    family: Family | None = None
    """None lets the checkpoint's ``config.json`` decide."""
    max_length: int | None = None
    """Tokens of a pair; None means what the checkpoint supports."""
    instruction: str | None = None
    """What to look for, where a request does not say; for models that take an instruction."""
    special_tokens_in_text: bool = False
    """True reads ``<|im_end|>`` in a user's text as the special token, as the reference does: it can forge a prompt."""
    sha256: str | None = None
    """Expected hash of ``model.safetensors``; a mismatch refuses the load."""
    download_bytes: int | None = None
    """Rough size of the download, for people choosing from a list."""
    languages: str = ""
    """What the model is good for, for people choosing from a list."""

    @property
    def basename(self) -> str:
        """Last component of the id: the name of the model's folder."""
        return self.id.rsplit("/", 1)[-1]


EMBEDDED = ModelCard(
    id=EMBEDDED_MODEL_ID,
    family=Family.BI_ENCODER,
    max_length=256,
    # of the published model; the package that carries the files is not its publisher
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    languages="English only; comes with the server",
)

# Sizes follow from the published configurations: parameters x 4 bytes (fp32), for Qwen3 x 2 (bf16).
BUILT_IN: tuple[ModelCard, ...] = (
    ModelCard(
        id="BAAI/bge-reranker-base",
        repo="BAAI/bge-reranker-base",
        max_length=512,
        download_bytes=1_130_000_000,
        languages="Chinese and English",
    ),
    ModelCard(
        id=LARGE_MODEL_ID,
        repo=LARGE_MODEL_ID,
        max_length=512,
        download_bytes=2_260_000_000,
        languages="Chinese and English",
    ),
    ModelCard(
        id=MULTILINGUAL_MODEL_ID,
        repo=MULTILINGUAL_MODEL_ID,
        # fine-tuned at 1024 and recommended so by its authors, though positions reach 8192
        max_length=1024,
        download_bytes=2_290_000_000,
        languages="100+ languages",
    ),
    ModelCard(
        id="Qwen/Qwen3-Reranker-0.6B",
        repo="Qwen/Qwen3-Reranker-0.6B",
        max_length=8192,
        download_bytes=1_200_000_000,
        languages="100+ languages; takes an instruction",
    ),
    ModelCard(
        id="Qwen/Qwen3-Reranker-4B",
        repo="Qwen/Qwen3-Reranker-4B",
        max_length=8192,
        download_bytes=8_100_000_000,
        languages="100+ languages; takes an instruction; for a GPU",
    ),
    ModelCard(
        id="Qwen/Qwen3-Reranker-8B",
        repo="Qwen/Qwen3-Reranker-8B",
        max_length=8192,
        download_bytes=16_400_000_000,
        languages="100+ languages; takes an instruction; for a GPU",
    ),
    EMBEDDED,
)

_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class _CardInFile(BaseModel):
    """One ``[[model]]`` table of a models file."""

    model_config = ConfigDict(extra="forbid")

    id: _Name
    aliases: tuple[_Name, ...] = ()
    repo: _Name | None = None
    revision: _Name | None = None
    path: Path | None = None
    family: Family | None = None
    max_length: int | None = Field(default=None, ge=8, le=1_000_000)
    instruction: _Name | None = None
    special_tokens_in_text: bool = False
    sha256: Annotated[str, StringConstraints(to_lower=True, pattern=r"^[0-9a-fA-F]{64}$")] | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> _CardInFile:
        if self.repo and self.path:
            raise ValueError("give `repo` or `path`, not both")
        if not self.path:
            check_repository_name(self.repo or self.id)
        return self


class _ModelsFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: tuple[_CardInFile, ...] = ()


def check_repository_name(name: str) -> None:
    """Raise ValueError unless the Hub could have a repository of this name."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ValueError(f"{name!r} cannot be a Hub repository; for a folder on this machine give `path`") from error


def read_models_file(path: Path) -> tuple[ModelCard, ...]:
    """Cards of a models file; none if there is no such file.

    A card with neither ``repo`` nor ``path`` takes its id as the Hub repository; a relative ``path`` starts at the
    file's own folder. Raises SettingsError naming the file and the entry.
    """
    if not path.exists():
        return ()
    try:
        parsed = _ModelsFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{path}: {where}: {first['msg']}") from error
    return tuple(_card(entry, path.parent) for entry in parsed.model)


def _card(entry: _CardInFile, folder: Path) -> ModelCard:
    return ModelCard(
        id=entry.id,
        aliases=entry.aliases,
        repo=entry.repo or (None if entry.path else entry.id),
        revision=entry.revision,
        path=(folder / entry.path).resolve() if entry.path else None,
        family=entry.family,
        max_length=entry.max_length,
        instruction=entry.instruction,
        special_tokens_in_text=entry.special_tokens_in_text,
        sha256=entry.sha256,
    )


def merge_cards(built_in: tuple[ModelCard, ...], added: tuple[ModelCard, ...]) -> tuple[ModelCard, ...]:
    """The user's cards first; a user's card with a built-in id replaces it, keeping what only people read.

    Raises SettingsError where a name of the user's means two cards.
    """
    described = {card.id.casefold(): card for card in built_in}
    merged = []
    for card in added:
        known = described.pop(card.id.casefold(), None)
        merged.append(replace(card, languages=known.languages, download_bytes=known.download_bytes) if known else card)
    merged += described.values()
    _refuse_doubles(merged)
    return tuple(merged)


def _refuse_doubles(cards: list[ModelCard]) -> None:
    seen: set[str] = set()
    for card in cards:
        names = {name.casefold() for name in (card.id, *card.aliases)}
        if shared := names & seen:
            raise SettingsError(f"the models file gives the name {min(shared)!r} to two models")
        seen |= names
