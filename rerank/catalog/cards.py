"""Model cards: what is known of a model before it is loaded. Data only; nothing is guessed from a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from rerank.activations import Activation
from rerank.catalog.families import CROSS_ENCODER, LEXICAL, UPSTREAM
from rerank.catalog.prompts import PromptFormat
from rerank.catalog.routes import Route
from rerank.catalog.shadows import Shadow
from rerank.catalog.text_prompts import TextPrompts
from rerank.catalog.upstreams import Upstream
from rerank.errors import SettingsError

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]


MANY = ("*",)
"""Languages of a model that reads very many."""
_NAMED = 4
"""Maximum languages that are named and not counted."""
_NAMES = {"en": "English", "zh": "Chinese", "ja": "Japanese", "ko": "Korean", "*": "many languages"}


@dataclass(frozen=True, slots=True)
class About:
    """What people choose a model by, as its publisher says."""

    languages: tuple[str, ...]
    """ISO 639-1 codes, or ``MANY``."""
    licence: str
    parameters: int
    """In millions."""
    download_bytes: int
    """Rough size of the weights."""
    note: str = ""
    commercial: bool = True
    """False where the licence excludes commercial use."""

    @property
    def purpose(self) -> str:
        """Languages and note, in words."""
        counted = len(self.languages)
        named = ", ".join(_NAMES[code] for code in self.languages) if counted <= _NAMED else f"{counted} languages"
        return f"{named}; {self.note}" if self.note else named

    def suits(self, wish: str) -> bool:
        """True if the model is for a language's code, for ``cpu``, or for ``commercial`` use."""
        if wish == "cpu":
            return self.parameters <= _ON_A_CPU
        if wish == "commercial":
            return self.commercial
        return wish in self.languages or self.languages == MANY


_ON_A_CPU = 600
"""Millions of parameters up to which a CPU ranks a hundred passages in seconds."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model: its names, where it comes from, and what overrides its checkpoint."""

    id: str
    """The name the model is served under, for example ``BAAI/bge-reranker-base``."""
    aliases: tuple[str, ...] = ()
    repo: str | None = None
    """Hub repository; None for a model that exists only on disk."""
    revision: str | None = None
    """Branch, tag or commit of the repository; None means its default branch."""
    path: Path | None = None
    """Folder of the weights; None means ``<models_dir>/<basename>``, then the Hub."""
    family: str | None = None
    """Name in ``FAMILIES``; None lets the checkpoint's ``config.json`` decide."""
    max_length: int | None = None
    """Maximum tokens per pair; None means what the checkpoint supports."""
    instruction: str | None = None
    """The default instruction, for models that take one."""
    prompt: PromptFormat | None = None
    """How a causal reranker is asked; None lets the checkpoint decide."""
    prompts: TextPrompts | None = None
    """What an embedding model reads before queries and documents; None lets its files decide."""
    labels: tuple[int, int] | None = None
    """Of a head with several labels, the one whose logit is subtracted, and the one from whose it is."""
    activation: Activation | None = None
    """How logits become relevance, with the scale of the models file; None means as the checkpoint says."""
    precision: Precision | None = None
    """None means the server's; ``auto`` what suits the device."""
    shorter_vectors: bool = False
    """True allows ``dimensions`` to cut an embedding model's vectors: it was trained so (Matryoshka)."""
    special_tokens_in_text: bool = False
    """True reads ``<|im_end|>`` in a user's text as the special token, as the reference does: it can forge a prompt."""
    normalize: Literal["nfkc"] | None = None
    """How texts are unified before they are tokenised; None leaves them as they are."""
    sha256: str | None = None
    """Expected hash of ``model.safetensors``; a mismatch refuses the load."""
    trust_remote_code: bool = False
    """True runs the checkpoint's own Python files."""
    pinned: bool = False
    """True keeps the model in memory even if another model needs the room."""
    keep_alive: float | None = None
    """Seconds without a request until the model is unloaded; 0 means never, None the server's setting."""
    upstream: Upstream | None = None
    """The server that has the model; None for one on this machine."""
    route: Route | None = None
    """The models it is made of; None for a model of its own."""
    max_candidates: int | None = None
    """Maximum documents scored per request; further ones follow in request order. None scores all."""
    long_documents: Literal["cut", "chunk"] | None = None
    """What is done with a document longer than the model reads; None leaves it to the server's setting."""
    calibration: Path | Literal["auto"] | None = None
    """The file by which its relevance is calibrated, or ``auto``: the model's own, if there is one. None: it is not."""
    shadow: Shadow | None = None
    """Another model that a share of its requests is also sent to; None for none."""
    about: About | None = None
    """What people choose it by."""

    @property
    def basename(self) -> str:
        """Last component of the id: the name of the model's folder."""
        return self.id.rsplit("/", 1)[-1]

    @property
    def stated_family(self) -> str | None:
        """The family if the card says it; a prompt is a cross-encoder's."""
        if self.upstream:
            return UPSTREAM
        return self.family or (CROSS_ENCODER if self.prompt else None)

    @property
    def normalises(self) -> bool:
        """True if texts are unified before they are tokenised."""
        return self.normalize is not None

    @property
    def has_weights(self) -> bool:
        """False for a model that is nothing on this machine's disk."""
        return self.upstream is None and self.route is None and self.family != LEXICAL

    def loads_like(self, other: ModelCard) -> bool:
        """True if a model loaded for one card is what the other describes."""
        return all(getattr(self, name) == getattr(other, name) for name in _LOADED_BY)

    def loaded_by(self) -> dict[str, Any]:
        """The fields that scores depend on, as plain data; not where the weights are."""
        return {name: value for name, value in asdict(self).items() if name in _LOADED_BY - {"path"}}


_LOADED_BY = {field.name for field in fields(ModelCard)} - {
    *("aliases", "pinned", "keep_alive", "about", "route", "max_candidates", "long_documents", "calibration", "shadow"),
}
"""Fields that a load depends on; the others concern names, people and residency."""


def merge_cards(built_in: tuple[ModelCard, ...], added: tuple[ModelCard, ...]) -> tuple[ModelCard, ...]:
    """The user's cards first; one with a built-in id replaces that card.

    It keeps what people read, and of the built-in card how the model is scored, and from where it is fetched, unless it
    says that itself. Raises SettingsError where a name of the user's means two cards.
    """
    described = {card.id.casefold(): card for card in built_in}
    merged = []
    for card in added:
        known = described.pop(card.id.casefold(), None)
        merged.append(_completed(card, known) if known else card)
    merged += described.values()
    _refuse_doubles(merged)
    return tuple(merged)


def _completed(card: ModelCard, known: ModelCard) -> ModelCard:
    if not card.has_weights:
        return replace(card, about=known.about)
    return replace(
        card,
        prompt=card.prompt or (known.prompt if card.family in (None, CROSS_ENCODER) else None),
        prompts=card.prompts or known.prompts,
        labels=card.labels or known.labels,
        activation=card.activation or known.activation,
        revision=card.revision or (known.revision if card.repo == known.repo else None),
        shorter_vectors=card.shorter_vectors or known.shorter_vectors,
        about=known.about,
    )


def _refuse_doubles(cards: list[ModelCard]) -> None:
    seen: set[str] = set()
    for card in cards:
        names = {name.casefold() for name in (card.id, *card.aliases)}
        if shared := names & seen:
            raise SettingsError(f"the models file gives the name {min(shared)!r} to two models")
        seen |= names
