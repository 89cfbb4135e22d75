"""Calibration files: one per model in a folder next to the models folder, or where a card says. Read and checked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from rerank.calibration import Beta, Calibration, Cubic, Isotonic, Method, Platt
from rerank.catalog.cards import ModelCard
from rerank.errors import SettingsError
from rerank.schemas import Schema
from rerank.text_file import UnfitFile, read_text

FOLDER = "calibrations"
_MAX_BYTES = 1_000_000
_MAX_FILES = 1000

_Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_Hex = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32,64}$")]
_Day = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\d$")]


class _InFile(Schema):
    """The content of a file, but for how it maps."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    model: _Text
    weights: _Hex
    reference: _Text
    data: _Hex
    date: _Day


class _CubicInFile(_InFile):
    method: Literal["cubic"]
    parameters: Cubic


class _IsotonicInFile(_InFile):
    method: Literal["isotonic"]
    parameters: Isotonic


class _BetaInFile(_InFile):
    method: Literal["beta"]
    parameters: Beta


class _PlattInFile(_InFile):
    method: Literal["platt"]
    parameters: Platt


_Content = Annotated[_CubicInFile | _IsotonicInFile | _BetaInFile | _PlattInFile, Field(discriminator="method")]


@dataclass(frozen=True, slots=True)
class Calibrations:
    """The calibrations of all models, as they were when they were read."""

    of_models: Mapping[str, Calibration] = field(default_factory=dict)
    """Those of the folder, by the name of their file."""
    of_paths: Mapping[Path, Calibration] = field(default_factory=dict)
    """Those that cards name."""

    @classmethod
    def read(cls, folder: Path, cards: Iterable[ModelCard]) -> Calibrations:
        """All files of the folder and of the cards. Raises SettingsError naming the file and the field."""
        named = {card.calibration for card in cards if isinstance(card.calibration, Path)}
        files = _files(folder)
        return cls(
            {path.name: read_calibration(path) for path in files}, {path: read_calibration(path) for path in named}
        )

    def of(self, card: ModelCard) -> Calibration | None:
        """The calibration of a model, whether or not its card says that it applies; None if it has none."""
        if isinstance(card.calibration, Path):
            return self.of_paths.get(card.calibration)
        return self.of_models.get(file_name(card.id))


def file_name(model_id: str) -> str:
    """The name of a model's file: its id with two hyphens for a slash."""
    return f"{model_id.replace('/', '--')}.json"


def calibrations_folder(models_dir: Path) -> Path:
    """The folder of the files, next to that of the models."""
    return models_dir.absolute().parent / FOLDER


def read_calibration(path: Path) -> Calibration:
    """The calibration in a file. Raises SettingsError naming the file and the field."""
    try:
        found = TypeAdapter[_InFile](_Content).validate_json(read_text(path, _MAX_BYTES))
    except UnfitFile as error:
        raise SettingsError(f"{path}: it {error}") from error
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise SettingsError(f"{path}: {_explained(error)}") from error
    values = dict(found)
    return Calibration(curve=values.pop("parameters"), **values)


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a file in place of the one that was there, whole or not at all. Raises OSError."""
    values = {name: getattr(calibration, name) for name in _WRITTEN}
    curve = calibration.curve
    values["parameters"] = {each.name: getattr(curve, each.name) for each in fields(curve) if each.init}
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = path.with_name(f"{path.name}.new")
    begun.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    begun.replace(path)


_WRITTEN = tuple(each.name for each in fields(Calibration) if each.name != "curve")


def _files(folder: Path) -> list[Path]:
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"{folder}: cannot be read: {error.strerror}") from error
    if len(files) > _MAX_FILES:
        raise SettingsError(f"{folder}: it holds {len(files)} files; at most {_MAX_FILES} are read")
    return files


def _explained(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first: Any = error.errors()[0]
    # the method comes first in the place, because it says which fields there are
    where = ".".join(str(part) for part in first["loc"][1:])
    if first["type"] == "union_tag_not_found":
        return "method: Field required"
    if first["type"] == "union_tag_invalid":
        return f"method: it has to be one of {', '.join(get_args(Method))}"
    said = first["msg"].removeprefix("Value error, ")
    return f"{where}: {said}" if where else said
