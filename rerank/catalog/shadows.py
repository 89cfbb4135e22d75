"""The field `shadow` of a card: another model that is asked the same as a share of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field

from rerank.catalog.file_fields import Name
from rerank.errors import ModelNotFound, SettingsError
from rerank.schemas import Schema

if TYPE_CHECKING:
    from rerank.catalog.cards import ModelCard


@dataclass(frozen=True, slots=True)
class Shadow:
    """The model that a card's rankings are compared with."""

    model: str
    """Its name."""
    share: float
    """Of the requests, above 0 and at most 1."""


class ShadowInFile(Schema):
    """`shadow = { model = ..., share = ... }`."""

    model_config = ConfigDict(extra="forbid")

    model: Name
    share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False, strict=True)]

    def shadow(self) -> Shadow:
        """What it describes."""
        return Shadow(self.model, self.share)


def check_shadows(cards: Iterable[ModelCard], resolve: Callable[[str], ModelCard]) -> None:
    """Raise SettingsError for a shadow that no model is, or one that leads back to its own card."""
    for card in cards:
        path, each = [card.id], card
        while shadow := each.shadow:
            try:
                each = resolve(shadow.model)
            except (ModelNotFound, SettingsError) as error:
                message = error.message if isinstance(error, ModelNotFound) else str(error)
                raise SettingsError(f"{path[-1]}: shadow.model = {shadow.model!r}: {message}") from error
            path.append(each.id)
            if each.id in path[:-1]:
                raise SettingsError(f"{card.id}: shadow.model leads back to {each.id}: {' -> '.join(path)}")
