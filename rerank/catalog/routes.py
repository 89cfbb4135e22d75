"""Models made of other models, as a card describes them: fallback, cascade, ensemble. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fusion = Literal["rrf", "mean", "weighted"]


@dataclass(frozen=True, slots=True)
class Fallback:
    """Models that are tried in order until one answers."""

    models: tuple[str, ...]
    """Their names."""
    share: float = 0.5
    """The part of the remaining time that each may take, except the last."""


@dataclass(frozen=True, slots=True)
class CascadeStage:
    """One model of a cascade."""

    model: str
    keep: int | float | None = None
    """Documents that go on to the next stage; a float is a multiple of ``top_n``. None for the last stage."""


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Models whose rankings are fused."""

    models: tuple[str, ...]
    fusion: Fusion = "rrf"
    weights: tuple[float, ...] = ()
    """Of each model, for weighted fusion."""
    missing: Literal["error", "degrade"] = "error"
    """What an unavailable member means: the error, or an answer without it that says so."""


Route = Fallback | tuple[CascadeStage, ...] | Ensemble
"""How a model that is made of others answers."""


def members_of(route: Route) -> tuple[str, ...]:
    """Names of the models it is made of."""
    return tuple(stage.model for stage in route) if isinstance(route, tuple) else route.models


def kind_of(route: Route) -> str:
    """The name of its kind, as in a models file."""
    return "cascade" if isinstance(route, tuple) else type(route).__name__.lower()
