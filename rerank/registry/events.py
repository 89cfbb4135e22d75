"""What happens to the models, and what is decided to do about it. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from rerank.catalog.cards import ModelCard
from rerank.errors import RerankError
from rerank.registry.eviction import Size

Ticket = int
"""Stands for one caller's wish, from the wish to its end."""


@dataclass(frozen=True, slots=True)
class Want:
    """A caller wants to work with a model."""

    ticket: Ticket
    card: ModelCard


@dataclass(frozen=True, slots=True)
class Release:
    """A caller is done with the model it was granted, or no longer waits for it."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Found:
    """The weights are on disk, and known to need so much memory."""

    id: str
    size: Size


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is in memory, and takes so much of it."""

    id: str
    size: Size


@dataclass(frozen=True, slots=True)
class Failed:
    """The weights could not be had, or not be loaded."""

    id: str
    error: RerankError


@dataclass(frozen=True, slots=True)
class Unloaded:
    """The model's memory has been given back."""

    id: str


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Somebody wants the model out of memory, and to be told when it is."""

    ticket: Ticket
    id: str


@dataclass(frozen=True, slots=True)
class Pin:
    """Somebody wants the model to stay in memory once it is there, or no longer does."""

    ticket: Ticket
    id: str
    pinned: bool


@dataclass(frozen=True, slots=True)
class Reload:
    """The catalog was read anew."""

    cards: tuple[ModelCard, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The server stops."""


Progress = Found | Loaded | Failed | Unloaded
"""What comes of a decision that takes time."""
Event = Want | Release | Dismiss | Pin | Reload | Tick | Shutdown | Progress


@dataclass(frozen=True, slots=True)
class Find:
    """Look for the weights, fetch them if need be, and say how much memory they need."""

    card: ModelCard
    ticket: Ticket
    """Who caused it."""


@dataclass(frozen=True, slots=True)
class Load:
    """Bring the model into memory."""

    id: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Give the model's memory back."""

    id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The caller may work with the model until it releases its ticket."""

    ticket: Ticket
    id: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The caller gets an error."""

    ticket: Ticket
    error: RerankError


@dataclass(frozen=True, slots=True)
class Done:
    """What the caller wanted to have done to a model is done."""

    ticket: Ticket


Decision = Find | Load | Unload | Grant | Refuse | Done
