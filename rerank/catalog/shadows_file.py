"""The field `shadow` of a card in a models file."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from rerank.catalog.file_fields import Name
from rerank.catalog.shadows import Shadow
from rerank.schemas import Schema


class ShadowInFile(Schema):
    """`shadow = { model = ..., share = ... }`."""

    model_config = ConfigDict(extra="forbid")

    model: Name
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False, strict=True)]

    def shadow(self) -> Shadow:
        """What it describes."""
        return Shadow(self.model, self.share)
