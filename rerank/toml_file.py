"""A TOML file, checked before anything believes it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rerank.errors import SettingsError
from rerank.text_file import UnfitFile, read_text

_LIMIT = 4_000_000
"""Bytes of a file; longer ones would hold the server for minutes."""

Content = TypeVar("Content", bound=BaseModel)


def read_toml(path: Path, schema: type[Content]) -> Content:
    """What the file says; the schema's defaults if there is no such file.

    Raises SettingsError naming the file and the entry, but not what stands there: it may be a secret.
    """
    try:
        return schema.model_validate(tomllib.loads(read_text(path, _LIMIT)) if path.exists() else {})
    except UnfitFile as error:
        raise SettingsError(f"{path}: it {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    except RecursionError:
        raise SettingsError(f"{path}: not valid TOML: nested too deeply") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        said = first["msg"].removeprefix("Value error, ")
        raise SettingsError(f"{path}: {where}: {said}" if where else f"{path}: {said}") from error
