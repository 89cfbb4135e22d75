"""Schemas made of the source of models that cannot be imported here."""

from __future__ import annotations

from tools.operator_schemas import fields_only, schema_of

SOURCE = b"""
from elsewhere import BaseModel, Resource

class Spec(BaseModel):
    class Builder(Unknown):
        field: int

    def build(self) -> "Spec":
        return Spec()

    port_name: Annotated[str | None, Field(alias="portName", description="A name.")] = None
    description: str

class Unrelated(BaseModel):
    field: Missing

class Thing(Resource):
    metadata: ObjectMeta | None = None
    spec: Spec
"""


def test_fields_are_kept_and_others_refused() -> None:
    schema = schema_of("Thing", fields_only(SOURCE))
    assert schema["$defs"] == {
        "Spec": {
            "additionalProperties": False,
            "properties": {
                "portName": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                "description": {"type": "string"},
            },
            "required": ["description"],
            "type": "object",
        }
    }
    assert schema["required"] == ["spec"]
    assert schema["additionalProperties"] is False
