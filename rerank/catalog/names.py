"""Resolution of a requested name to a model card. Pure; its cost is bounded for names of any length."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from rerank.catalog.cards import ModelCard
from rerank.errors import ModelNotFound

MAX_NAME = 512
"""Maximum characters of a name that is looked up."""
_JOINT = "___"
# RAGFlow and Xinference hand on names such as `bge-reranker-base___VLLM`; ModelScope writes `0___6B` for `0.6B`
_LISTED = 10
_COMPARED = 1000
"""Maximum known names that an unknown one is compared with."""
_SHOWN = 200


def fold(name: str) -> str:
    """A name without what clients and disks decorate it with: case, composition, ``./``, slashes at the end."""
    name = unicodedata.normalize("NFC", name.strip()).replace("\\", "/").rstrip("/")
    return unicodedata.normalize("NFC", name.removeprefix("./").casefold())


def spelt_out(folded: str) -> str:
    """The name with ModelScope's ``___`` as the dot it stands for."""
    return folded.replace(_JOINT, ".")


def is_plain(name: str) -> bool:
    """True for a name that is safe to display, log and quote, and that cannot leave a folder."""
    parts = name.split("/")
    return name.isprintable() and not set(name) & {'"', "\\"} and not {"", ".", ".."} & set(parts)


def shown(name: str) -> str:
    """A requested name, shortened for a message."""
    return "".join(letter if letter.isprintable() else "�" for letter in name[:_SHOWN])


def names_of(card: ModelCard, models_dir: Path, folder: Path | None = None) -> tuple[tuple[str, ...], ...]:
    """The names that mean this card, in ranks, the strongest first: id; aliases; basename and paths of its folder."""
    folder = folder or card.path or models_dir / card.basename
    real = Path(os.path.realpath(folder))
    weak = [card.basename, str(folder), str(real)]
    if card.path is None:
        weak.insert(1, f"{models_dir.name}/{card.basename}")
    for place, home in ((folder, models_dir), (real, Path(os.path.realpath(models_dir)))):
        if place.is_relative_to(home):
            inside = place.relative_to(home).as_posix()
            weak += [inside, f"{models_dir.name}/{inside}"]
    return (card.id,), card.aliases, tuple(dict.fromkeys(weak))


_Meanings = Mapping[str, Mapping[str, ModelCard]]
"""For each name the cards it means, by id."""


@dataclass(frozen=True, slots=True)
class NameIndex:
    """Every name of every card, looked up without looking at each."""

    ids: tuple[str, ...] = ()
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)
    """Those of a card, by its id."""
    _exact: tuple[_Meanings, ...] = field(default=(), repr=False)
    """One for each rank of names."""
    _folded: tuple[_Meanings, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, cards: Iterable[ModelCard], models_dir: Path, folders: Mapping[str, Path] | None = None) -> NameIndex:
        """``folders`` is where the weights of cards lie, by id, as far as they lie elsewhere than they belong."""
        exact: list[dict[str, dict[str, ModelCard]]] = [defaultdict(dict) for _ in range(3)]
        folded: list[dict[str, dict[str, ModelCard]]] = [defaultdict(dict) for _ in range(4)]
        aliases = {}
        for card in cards:
            aliases[card.id] = card.aliases
            for rank, names in enumerate(names_of(card, models_dir, (folders or {}).get(card.id))):
                for name in names:
                    exact[rank][name][card.id] = card
                    folded[rank][fold(name)][card.id] = card
                    folded[-1][spelt_out(fold(name))][card.id] = card
        return cls(tuple(aliases), aliases, tuple(exact), tuple(folded))

    def resolve(self, name: str) -> ModelCard:
        """The one card that answers to ``name``.

        A name spelt exactly beats one that differs in case or decoration; then an id beats an alias, an alias a
        basename. A name that means two cards means neither. Raises ModelNotFound listing the ids that share it, or
        else the known ones, the nearest first.
        """
        for meanings, spelling in self._ways(name) if len(name) <= MAX_NAME else ():
            if cards := meanings.get(spelling):
                return _only(cards, name)
        raise self._unknown(name)

    def _unknown(self, name: str) -> ModelNotFound:
        nearest = nearest_first(name, self.ids, self.aliases)
        some = len(nearest) < len(self.ids)
        return ModelNotFound(
            f"The model `{shown(name)}` does not exist. Known models: {', '.join(nearest)}.",
            f" These are {len(nearest)} of {len(self.ids)}; /v1/models and `rerank models` list all." if some else "",
        )

    def _ways(self, name: str) -> Iterator[tuple[_Meanings, str]]:
        """Where to look a name up, and in which spelling, in order."""
        yield from ((meanings, name) for meanings in self._exact)
        folded = fold(name)
        for spelling in (folded, _without_suffix(folded)):
            yield from ((meanings, spelling) for meanings in self._folded[:-1])
            yield from ((meanings, spelt_out(spelling)) for meanings in self._folded[-1:])


def _only(cards: Mapping[str, ModelCard], name: str) -> ModelCard:
    if len(cards) > 1:
        ids = " or ".join(sorted(cards)[:_LISTED])
        raise ModelNotFound(f"The name `{shown(name)}` is ambiguous. Use a full id: {ids}.")
    return next(iter(cards.values()))


def _without_suffix(folded: str) -> str:
    """The name without ``___VLLM``; a suffix that begins with a digit is part of a name, as in ``0___6B``."""
    start, joint, suffix = folded.rpartition(_JOINT)
    return start if joint and suffix[:1].isalpha() and "/" not in suffix else folded


def nearest_first(
    name: str, known: Sequence[str], aliases: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[str]:
    """At most ten of the known ids, the most similar to ``name`` first; an alias instead where it is more similar."""
    wanted = _pairs_of_letters(fold(name[:_SHOWN]).rsplit("/", 1)[-1])

    def likeness(candidate: str) -> float:
        return max(_likeness(wanted, letters) for letters in _letters_of(candidate))

    closest = (max((id_, *aliases.get(id_, ())), key=likeness) for id_ in known[:_COMPARED])
    return sorted(closest, key=likeness, reverse=True)[:_LISTED]


@lru_cache(maxsize=2 * _COMPARED)
def _letters_of(known: str) -> tuple[frozenset[str], frozenset[str]]:
    """Of a known name, and of its last part."""
    folded = known[:_SHOWN].casefold()
    return _pairs_of_letters(folded), _pairs_of_letters(folded.rsplit("/", 1)[-1])


def _pairs_of_letters(text: str) -> frozenset[str]:
    return frozenset(text[start : start + 2] for start in range(len(text)))


def _likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Share of common pairs of letters (Dice). Linear; difflib takes minutes over long names."""
    return 2 * len(one & other) / ((len(one) + len(other)) or 1)
