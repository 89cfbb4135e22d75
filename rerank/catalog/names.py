"""From the name a caller used to a model card. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rerank.catalog.cards import ModelCard
from rerank.errors import ModelNotFound

# RAGFlow and Xinference hand on names such as `bge-reranker-base___VLLM`
_SUFFIX = re.compile(r"___[^/]*$")
_LISTED = 20


def normalise(name: str) -> str:
    """A name without what clients decorate it with: case, suffix, ``./`` in front, slashes at the end."""
    name = _SUFFIX.sub("", name.strip()).replace("\\", "/").rstrip("/")
    return name.removeprefix("./").casefold()


def names_of(card: ModelCard, models_dir: Path) -> tuple[str, ...]:
    """Every normalised name that means this card, the strongest first: id, aliases, basename, paths of its folder."""
    folder = card.path or models_dir / card.basename
    names = (
        card.id,
        *card.aliases,
        card.basename,
        f"{models_dir.name}/{card.basename}",
        str(folder),
        str(folder.resolve()),
    )
    return tuple(dict.fromkeys(normalise(name) for name in names))


def resolve(name: str, cards: Sequence[ModelCard], models_dir: Path) -> ModelCard:
    """The one card that answers to ``name``.

    An id beats an alias, an alias beats a basename. A basename that two cards share means neither. Raises
    ModelNotFound listing the ids that share it, or else the known ones, the nearest first.
    """
    wanted = normalise(name)
    for card in cards:
        if wanted == normalise(card.id):
            return card
    for card in cards:
        if wanted in {normalise(alias) for alias in card.aliases}:
            return card
    matches = [card for card in cards if wanted in names_of(card, models_dir)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        ids = " or ".join(sorted(card.id for card in matches)[:_LISTED])
        raise ModelNotFound(f"The name `{name[:200]}` is ambiguous. Use a full id: {ids}.")
    known = ", ".join(nearest_first(name, (card.id for card in cards)))
    raise ModelNotFound(f"The model `{name[:200]}` does not exist. Known models: {known}.")


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """At most 20 of the known names, ordered by how much they look like ``name``."""
    wanted = normalise(name).rsplit("/", 1)[-1]

    def distance(candidate: str) -> float:
        candidate = candidate.casefold()
        whole = difflib.SequenceMatcher(None, wanted, candidate).ratio()
        base = difflib.SequenceMatcher(None, wanted, candidate.rsplit("/", 1)[-1]).ratio()
        return -max(whole, base)

    return sorted(known, key=distance)[:_LISTED]
