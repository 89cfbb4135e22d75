"""Addresses and fields of the API, from its OpenAPI description, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tools.site.conversation import said
from tools.site.tables import table

_BODIES = ("RerankBody", "ScoreBody", "EmbeddingsBody")


def addresses() -> str:
    """Every address, by tag."""
    operations = sorted(_operations(), key=lambda operation: (operation[0], operation[1]))
    return table(("Group", "Address", "Description"), operations)


def fields() -> str:
    """The fields of the bodies that vLLM's and OpenAI's addresses take."""
    schemas = said().openapi["components"]["schemas"]
    return "\n\n".join(f"### {name}\n\n{_fields_of(schemas[name])}" for name in _BODIES)


def _operations() -> Iterator[tuple[str, str, str]]:
    for path, operations in said().openapi["paths"].items():
        for method, operation in operations.items():
            yield operation["tags"][0], f"`{method.upper()} {path}`", operation["summary"]


def _fields_of(schema: dict[str, Any]) -> str:
    required = set(schema.get("required", ()))
    rows = [
        (f"`{name}`", _type(field), "required" if name in required else _default(field), _described(field))
        for name, field in schema["properties"].items()
    ]
    return table(("Field", "Type", "Default", "Description"), rows)


def _type(field: dict[str, Any]) -> str:
    kinds = [field, *field.get("anyOf", ()), *field.get("oneOf", ())]
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    return " or ".join(dict.fromkeys(kind["type"] for kind in kinds if kind.get("type", "null") != "null"))


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value in (None, [], "") else f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _described(field: dict[str, Any]) -> str:
    return " ".join(str(field.get("description", "")).split())
