"""Events of the registry, and its decisions. Data only."""

from __future__ import annotations

from dataclasses import dataclass

from rerank.catalog.cards import ModelCard
from rerank.errors import RerankError
from rerank.registry.eviction import Size

Ticket = int
"""Identifies one caller's request to the registry, from its beginning to its end."""


@dataclass(frozen=True, slots=True)
class Want:
    """A caller asks for a model."""

    ticket: Ticket
    card: ModelCard


@dataclass(frozen=True, slots=True)
class Release:
    """A caller is done with the model it was granted, or no longer waits for it."""

    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Found:
    """The weights are on disk; the estimated size."""

    id: str
    size: Size


@dataclass(frozen=True, slots=True)
class Loaded:
    """The model is in memory; the measured size."""

    id: str
    size: Size


@dataclass(frozen=True, slots=True)
class Failed:
    """The weights could not be found, fetched or loaded."""

    id: str
    error: RerankError


@dataclass(frozen=True, slots=True)
class Unloaded:
    """The model's memory has been freed."""

    id: str


@dataclass(frozen=True, slots=True)
class Dismiss:
    """A caller asks to unload the model, and waits for it."""

    ticket: Ticket
    id: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A caller pins or unpins the model."""

    ticket: Ticket
    id: str
    pinned: bool


@dataclass(frozen=True, slots=True)
class Reload:
    """The catalog was reloaded."""

    cards: tuple[ModelCard, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The server stops."""


Progress = Found | Loaded | Failed | Unloaded
"""Outcomes of decisions that take time."""
Event = Want | Release | Dismiss | Pin | Reload | Tick | Shutdown | Progress


@dataclass(frozen=True, slots=True)
class Find:
    """Locate the weights, fetch them if necessary, and estimate their size."""

    card: ModelCard
    ticket: Ticket
    """Ticket of the caller that caused it."""


@dataclass(frozen=True, slots=True)
class Load:
    """Load the model."""

    id: str


@dataclass(frozen=True, slots=True)
class Unload:
    """Unload the model."""

    id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """The caller may use the model until it releases its ticket."""

    ticket: Ticket
    id: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """The caller gets an error."""

    ticket: Ticket
    error: RerankError


@dataclass(frozen=True, slots=True)
class Done:
    """The caller's Dismiss or Pin is done."""

    ticket: Ticket


Decision = Find | Load | Unload | Grant | Refuse | Done
