"""Events that stages report, one record each. ``Metrics.observe`` counts them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rerank.results import Attempt

CLIENT_LEFT = 499
"""Status of a request whose client left before the answer, as nginx logs it."""


@dataclass(slots=True)
class RequestRecord:
    """Facts of one request, for its log line, its span and the metrics. None or empty: not known."""

    documents: int | None = None
    key: str = ""
    """Name of the caller's key."""
    model: str = ""
    """Id of the model that answered."""
    tokens: int | None = None
    degraded: bool = False
    """True if another model answered than the first choice."""
    route: Sequence[Attempt] = ()
    """The models that were asked."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the answer that tell how it came about."""
    error: str = ""
    """Class of the error, or the field of the body that is wrong."""
    dialect: str = "none"
    """Of the request, or the group of its endpoint."""
    status: int = 0
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    """Seconds spent in each stage."""

    @property
    def error_class(self) -> str:
        """Class of the error: fields of bodies would be as many as there are documents."""
        return "InvalidBody" if self.error.startswith("body") else self.error

    def facts(self, *, by_class: bool = False) -> dict[str, str | int]:
        """Known facts by name; ``by_class`` has the class of an error instead of the field that is wrong."""
        known = {
            "documents": self.documents,
            "key": self.key,
            "model": self.model,
            "tokens": self.tokens,
            "error": self.error_class if by_class else self.error,
        }
        return {name: value for name, value in known.items() if value is not None and value != ""}


@dataclass(frozen=True, slots=True)
class BatchStarted:
    """A batch is about to be computed."""

    device: str
    pairs: int
    tokens: int
    """Of its pairs, without padding."""
    padding: int
    """Maximum padding tokens that the device computes in addition."""


@dataclass(frozen=True, slots=True)
class ModelChanged:
    """A model was loaded or unloaded, or failed to load."""

    model: str
    change: Literal["loaded", "failed", "unloaded"]


@dataclass(frozen=True, slots=True)
class CacheLookup:
    """Pairs of a model were looked up in the cache."""

    model: str
    store: str
    found: int
    missing: int


Operation = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class CacheFailed:
    """The cache's store could not be used, or not in time."""

    store: str
    operation: Operation


@dataclass(frozen=True, slots=True)
class StateFailed:
    """The state that servers share could not be used, or not in time."""


@dataclass(frozen=True, slots=True)
class DocumentsTruncated:
    """A model read documents of a request only in part."""

    model: str
    documents: int


CallOutcome = Literal[
    "ok", "refused", "overloaded", "failed", "unreachable", "timeout", "broken", "nonsense", "skipped", "cancelled"
]


@dataclass(frozen=True, slots=True)
class UpstreamCalled:
    """A call of a model's upstream has ended; each retry is one."""

    model: str
    outcome: CallOutcome
    """``failed``: an error as status. ``broken``: the connection. ``skipped``: the circuit breaker is open."""


ShadowOutcome = Literal["compared", "dropped", "absent", "failed"]


@dataclass(frozen=True, slots=True)
class Shadowed:
    """A request was also for the shadow of its model."""

    model: str
    shadow: str
    outcome: ShadowOutcome
    """``dropped``: there was no room. ``absent``: the shadow is not in memory."""
    agreement: Mapping[str, float] = field(default_factory=dict)
    """Of both rankings, by measure."""


@dataclass(frozen=True, slots=True)
class LoopAnswered:
    """The event loop ran a callback."""

    delay: float
    """Seconds after it was due."""


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The server closed a connection because of a limit."""

    reason: str


Event = (
    RequestRecord
    | BatchStarted
    | ModelChanged
    | CacheLookup
    | CacheFailed
    | StateFailed
    | DocumentsTruncated
    | UpstreamCalled
    | Shadowed
    | LoopAnswered
    | ConnectionClosed
)
Observe = Callable[[Event], object]
"""Takes events. Called from any thread."""


def ignore(event: Event) -> None:
    """Observe nothing."""
    del event
