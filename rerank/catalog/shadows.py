"""The shadow of a card: another model that is asked the same as a share of requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank.errors import ModelNotFound, SettingsError

if TYPE_CHECKING:
    from rerank.catalog.cards import ModelCard


@dataclass(frozen=True, slots=True)
class Shadow:
    """The model that a card's rankings are compared with."""

    model: str
    """Its name."""
    share: float
    """Of the requests, above 0 and at most 1."""


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
