"""A dialect as data: where it is spoken, how its errors are rendered, and how it shares an address with others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel

from rerank.api.errors import ErrorBody, ErrorRenderer, common_error
from rerank.core import ScoringRequest
from rerank.results import ScoringResult


class AsksForScores(Protocol):
    """A body that can be scored."""

    def scoring_request(self) -> ScoringRequest:
        """The request in the gateway's terms. Raises InvalidRequest."""
        ...


@dataclass(frozen=True, slots=True)
class SharedBody:
    """A dialect's part of the addresses that several dialects share."""

    recognises: Callable[[Mapping[str, Any]], bool]
    """True for a JSON object, given without its nulls, in this dialect."""
    body: type[BaseModel]
    render: Callable[[Any, ScoringResult], Any]
    """The answer to a body."""
    answer: Any
    """Type of the answer, for the documentation."""
    example: Any
    """An answer, for the documentation."""
    error: type[BaseModel] = ErrorBody
    """Model of its errors, for the documentation."""
    own_errors: Mapping[int | str, dict[str, Any]] = field(default_factory=dict)
    """Errors with a status that only this dialect has, for the documentation."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One wire format, or a part of one."""

    name: str
    """As metrics and the documentation call it."""
    routers: tuple[APIRouter, ...]
    render_error: ErrorRenderer = common_error
    public_paths: frozenset[str] = frozenset()
    """Addresses that its clients ask before they send a key."""
    shared: SharedBody | None = None

    @property
    def paths(self) -> frozenset[str]:
        """Its addresses, without the public ones: their errors are rendered its way."""
        routes = [route for router in self.routers for route in router.routes]
        return frozenset(route.path for route in routes if isinstance(route, APIRoute)) - self.public_paths
