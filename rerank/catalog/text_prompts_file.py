"""Prompts of an embedding model in models.toml."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from rerank.catalog.text_prompts import TextPrompts
from rerank.schemas import Schema

Text = Annotated[str, Field(max_length=2000)]


class TextPromptsInFile(Schema):
    """`prompts = { query = ..., document = ... }`."""

    model_config = ConfigDict(extra="forbid")

    query: Text | None = None
    document: Text | None = None

    @model_validator(mode="after")
    def _names_a_role(self) -> TextPromptsInFile:
        if self.query is None and self.document is None:
            raise ValueError("it names neither `query` nor `document`")
        return self

    def prompts(self) -> TextPrompts:
        """What it describes."""
        return TextPrompts(self.query, self.document)
