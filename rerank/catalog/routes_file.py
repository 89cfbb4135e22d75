"""Routes in a models file: `fallback`, `cascade` and `ensemble`, validated."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from rerank.catalog.file_fields import Name
from rerank.catalog.routes import CascadeStage, Ensemble, Fallback, Fusion, Route
from rerank.schemas import Schema

_MOST = 16
_Members = Annotated[tuple[Name, ...], Field(min_length=1, max_length=_MOST)]
_Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _kept(value: object) -> int | float:
    """A number of documents, or a multiple of ``top_n`` such as `"3x"`. Raises ValueError."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    if isinstance(value, str) and value.strip().endswith("x"):
        try:
            factor = float(value.strip()[:-1])
        except ValueError:
            factor = math.nan
        if 0 < factor < math.inf:
            return factor
    raise ValueError('it has to be a number of documents from 1, or a multiple of top_n such as "3x"')


def _table(value: object) -> object:
    """A list of models as the table it is short for."""
    return {"models": value} if isinstance(value, list) else value


class _Strict(Schema):
    model_config = ConfigDict(extra="forbid")


class FallbackInFile(_Strict):
    """`fallback = ["first", "second"]`, or a table."""

    models: _Members
    share: float = Field(default=Fallback(()).share, gt=0, lt=1)

    def route(self) -> Route:
        """The route it describes."""
        return Fallback(self.models, self.share)


class StageInFile(_Strict):
    """One table of `cascade`."""

    model: Name
    keep: Annotated[int | float, BeforeValidator(_kept)] | None = None


class EnsembleInFile(_Strict):
    """`ensemble = { models = [...] }`."""

    models: _Members
    fusion: Fusion = "rrf"
    weights: tuple[_Weight, ...] = ()
    missing: Literal["error", "degrade"] = "error"

    @model_validator(mode="after")
    def _weighs_every_model(self) -> EnsembleInFile:
        if (self.fusion == "weighted") != bool(self.weights):
            raise ValueError('`fusion = "weighted"` and `weights` go together')
        if self.weights and (len(self.weights) != len(self.models) or not sum(self.weights)):
            raise ValueError(f"`weights` are {len(self.models)} numbers, one per model, and not all 0")
        return self

    def route(self) -> Route:
        """The route it describes."""
        return Ensemble(self.models, self.fusion, self.weights, self.missing)


class RoutesInFile(_Strict):
    """The fields of a card that describe a route, of which it may have one."""

    fallback: Annotated[FallbackInFile, BeforeValidator(_table)] | None = None
    cascade: Annotated[tuple[StageInFile, ...], Field(min_length=2, max_length=_MOST)] | None = None
    ensemble: EnsembleInFile | None = None

    @model_validator(mode="after")
    def _keeps_documents(self) -> RoutesInFile:
        *before, last = self.cascade or (None,)
        if last and last.keep is not None:
            raise ValueError("`keep` of the last stage of a cascade means nothing: leave it out")
        if missing := next((stage for stage in before if stage and stage.keep is None), None):
            raise ValueError(f"the stage {missing.model!r} of the cascade needs `keep`")
        return self

    @property
    def described(self) -> dict[str, Any]:
        """The routes that are given, by the name of their field."""
        routes = {"fallback": self.fallback, "cascade": self.cascade, "ensemble": self.ensemble}
        return {name: route for name, route in routes.items() if route is not None}

    def route(self) -> Route | None:
        """The route that they describe."""
        if self.cascade:
            return tuple(CascadeStage(stage.model, stage.keep) for stage in self.cascade)
        return (self.fallback or self.ensemble).route() if self.described else None  # type: ignore[union-attr]
