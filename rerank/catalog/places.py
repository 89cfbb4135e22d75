"""Folders of a card's weights, in the models folder and elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from huggingface_hub import constants

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import is_started, read_checkpoint
from rerank.catalog.folders import CACHED, Listing
from rerank.catalog.found import repository_of
from rerank.catalog.names import fold, spelt_out
from rerank.errors import WeightsBroken

logger = logging.getLogger(__name__)


def place_of(card: ModelCard, cards: Sequence[ModelCard], models_dir: Path, look: Callable[[], Listing]) -> Path:
    """The card's path, or the folder of ``models_dir`` that is its own among all ``cards``.

    ``look`` is only called where that folder does not exist under its ordinary name.
    """
    if card.path:
        return card.path
    ordinary = models_dir / card.basename
    taken = _is_taken(ordinary, card, cards)
    if not taken and is_started(ordinary):
        return ordinary
    whole = models_dir / card.id.replace("/", "--")
    if is_started(whole):
        return whole
    return _elsewhere(card, cards, look(), taken=taken) or (whole if taken else ordinary)


def _is_taken(folder: Path, card: ModelCard, cards: Sequence[ModelCard]) -> bool:
    """True if the folder is another card's, or was fetched from another repository."""
    first = next((other for other in cards if other.basename == card.basename and not other.path), card)
    return first.id != card.id or card.repo not in (None, repository_of(folder, folder.name) or card.repo)


def _elsewhere(card: ModelCard, cards: Sequence[ModelCard], listing: Listing, *, taken: bool) -> Path | None:
    """A folder that holds the card's model under another spelling of its name."""
    if "/" in card.id and (found := listing.spelt(card.id)):
        return found
    found = None if taken else listing.spelt(card.basename)
    if found is None or _is_taken(found, card, cards):
        return None
    wanted = spelt_out(fold(card.basename))
    rivals = [other for other in cards if not other.path and spelt_out(fold(other.basename)) == wanted]
    belongs = rivals[:1] in ([], [card]) and not any(other.basename == found.name for other in rivals)
    return found if belongs else None


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
