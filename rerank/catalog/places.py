"""Folders of a card's weights, in the models folder and elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from huggingface_hub import constants

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import is_started, read_checkpoint
from rerank.catalog.folders import CACHED, Listing
from rerank.catalog.found import repository_of
from rerank.catalog.names import fold, spelt_out
from rerank.errors import WeightsBroken

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Owners:
    """The cards that folders of the models folder belong to: of each name the first one without a path."""

    cards: tuple[ModelCard, ...]
    """All cards."""
    by_name: Mapping[str, ModelCard]
    by_spelling: Mapping[str, ModelCard]

    @classmethod
    def of(cls, cards: tuple[ModelCard, ...]) -> Self:
        """One pass over all cards."""
        owning = [card for card in reversed(cards) if card.has_weights and not card.path]
        by_name = {card.basename: card for card in owning}
        return cls(cards, by_name, {_spelling(card): card for card in owning})


def place_of(card: ModelCard, owners: Owners, models_dir: Path, look: Callable[[], Listing]) -> Path:
    """The card's path, or the folder of ``models_dir`` that is its own among those of all ``owners``.

    ``look`` is only called where that folder does not exist under its ordinary name.
    """
    if card.path:
        return card.path
    ordinary = models_dir / card.basename
    taken = _is_taken(ordinary, card, owners)
    if not taken and is_started(ordinary):
        return ordinary
    whole = models_dir / card.id.replace("/", "--")
    if is_started(whole):
        return whole
    return _elsewhere(card, owners, look(), taken=taken) or (whole if taken else ordinary)


def _is_taken(folder: Path, card: ModelCard, owners: Owners) -> bool:
    """True if the folder is another card's, or was fetched from another repository."""
    first = owners.by_name.get(card.basename, card)
    return first.id != card.id or card.repo not in (None, repository_of(folder, folder.name) or card.repo)


def _elsewhere(card: ModelCard, owners: Owners, listing: Listing, *, taken: bool) -> Path | None:
    """A folder that holds the card's model under another spelling of its name."""
    if "/" in card.id and (found := listing.spelt(card.id)):
        return found
    found = None if taken else listing.spelt(card.basename)
    if found is None or _is_taken(found, card, owners) or found.name in owners.by_name:
        return None
    return found if owners.by_spelling.get(_spelling(card), card) == card else None


def _spelling(card: ModelCard) -> str:
    return spelt_out(fold(card.basename))


def cached_folder(card: ModelCard) -> Path | None:
    """Snapshot in the Hugging Face cache, if it is whole."""
    if card.repo is None:
        return None
    try:
        config = _cached_config(card.repo, card.revision)
        if not isinstance(config, str):
            return None
        return read_checkpoint(Path(config).parent, card).folder
    except WeightsBroken:
        return None
    except OSError as error:
        _pass_over(card.repo, error.strerror or type(error).__name__)
        return None


def _cached_config(repo: str, revision: str | None) -> object:
    if not Path(constants.HF_HUB_CACHE, CACHED + repo.replace("/", "--")).is_dir():
        return None
    # slow to import, and only needed where the cache has the model
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(repo, "config.json", revision=revision)


@cache
def _pass_over(repo: str, why: str) -> None:
    """Log it once, not for each request."""
    logger.warning("%s in the Hugging Face cache cannot be read (%s); passed over", repo, why)
