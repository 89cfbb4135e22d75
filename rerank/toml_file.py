"""A TOML file, checked before anything believes it."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from rerank.errors import SettingsError
from rerank.text_file import UnfitFile, read_text

_LIMIT = 4_000_000
"""Bytes of a file; longer ones would hold the server for minutes."""
_LONGEST_ID = 200
_UNKNOWN = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
"""Pydantic's words for a field that a table, or a dataclass, does not have."""

Content = TypeVar("Content", bound=BaseModel)


def read_toml(path: Path, schema: type[Content]) -> Content:
    """What the file says; the schema's defaults if there is no such file.

    Raises SettingsError naming the file and the entry, but not what stands there: it may be a secret.
    """
    if not path.exists():
        # nothing to check, and building a schema takes a start's time
        return schema.model_construct()
    content = _content_of(path)
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        # a name that is not known may be why another one is missing
        first = min(error.errors(), key=lambda each: each["type"] not in _UNKNOWN)
        where = ".".join(str(part) for part in first["loc"])
        said = _explained(schema, first["type"], first["loc"]) or first["msg"].removeprefix("Value error, ")
        whose = _id_at(content, first["loc"])
        raise SettingsError(f"{path}: {where}: {said}{whose}" if where else f"{path}: {said}") from error


def _explained(schema: type[Any], problem: str, location: Sequence[int | str]) -> str:
    """A problem with a name or a list in the file's own words; empty for other problems."""
    names = [part for part in location if isinstance(part, str)]
    if problem == "tuple_type":
        headed = f"; its tables are each headed by [[{'.'.join(names)}]]" if _tables_at(schema, names) else ""
        return f"it has to be a list{headed}"
    if problem not in _UNKNOWN:
        return ""
    tables = _tables_at(schema, names[:-1])
    known = [name for table in tables for name in _fields_of(table)]
    if near := difflib.get_close_matches(names[-1], known, n=1):
        return f"there is no such field. Did you mean {near[0]}?"
    return f"there is no such field, only {', '.join(known)}"


def _tables_at(schema: type[Any], names: Sequence[str]) -> list[type[Any]]:
    """The tables that may stand at a place."""
    tables = [schema]
    for name in names:
        tables = [inner for table in tables for inner in _tables_in(_fields_of(table)[name])]
    return tables


def _fields_of(table: type[Any]) -> dict[str, Any]:
    """Names of a table's fields and their types."""
    if dataclasses.is_dataclass(table):
        return get_type_hints(table)
    return {name: field.annotation for name, field in table.__pydantic_fields__.items()}


def _tables_in(annotation: Any) -> Iterator[type[Any]]:
    """The tables that a field of this type may hold, or a list of them."""
    if dataclasses.is_dataclass(annotation) or hasattr(annotation, "__pydantic_fields__"):
        yield annotation
    arguments = get_args(annotation)
    for part in arguments[:1] if get_origin(annotation) is Annotated else arguments:
        yield from _tables_in(part)


def _content_of(path: Path) -> dict[str, Any]:
    """The file as TOML. Raises SettingsError naming it."""
    try:
        content = tomllib.loads(read_text(path, _LIMIT))
        _check_integers(content)
        return content
    except UnfitFile as error:
        raise SettingsError(f"{path}: it {error}") from error
    except RecursionError:
        raise SettingsError(f"{path}: not valid TOML: nested too deeply") from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        # tomllib's own, or Python's for an integer of more digits than it reads
        raise SettingsError(f"{path}: not valid TOML: {error}") from error


def _check_integers(content: Any) -> None:
    """Raise ValueError for an integer that no field here could compute with: TOML's have 64 bits, Python's any."""
    if isinstance(content, int) and not -(2**63) <= content < 2**63:
        raise ValueError("an integer has more than 64 bits")
    items = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for item in items:
        _check_integers(item)


def _id_at(content: Any, location: Sequence[int | str]) -> str:
    """The card that a place is in, if it has an id that can be shown; empty otherwise."""
    found = ""
    for part in location:
        try:
            content = content[part]
        except (IndexError, KeyError, TypeError):
            break
        name = content.get("id") if isinstance(content, dict) else None
        if isinstance(name, str) and name.isprintable() and len(name) <= _LONGEST_ID:
            found = f" (card {name})"
    return found
