"""Activations: from a model's raw logit to the relevance that clients see. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

ToRelevance = Callable[[float], float]
"""The way from a raw logit to what a client sees: an activation, or one that is calibrated."""


@dataclass(frozen=True, slots=True)
class Activation:
    """One way from a raw logit to relevance. Called with a logit, in double precision so that high scores differ."""

    name: str
    """As in models.toml, and in lower case what torch calls it."""
    function: Callable[[float], float]
    scale: float = 1.0
    """The logit is divided by it first."""

    def __call__(self, logit: float) -> float:
        return self.function(logit / self.scale)


def _sigmoid(logit: float) -> float:
    # every step rises or falls with the logit in floating point, too: exp(logit) / (1 + exp(logit)) does not
    return 1 / (1 + math.exp(-logit)) if logit > _LEAST_LOGIT else 0.0


_LEAST_LOGIT = -709.0
"""Below it the exponential would overflow."""


def _identity(logit: float) -> float:
    return logit


def _halve(cosine: float) -> float:
    """-1..1 shifted and halved into 0..1."""
    return min(max((1 + cosine) / 2, 0.0), 1.0)


SIGMOID = Activation("sigmoid", _sigmoid)
IDENTITY = Activation("identity", _identity)
COSINE = Activation("cosine", _halve)
"""For embedding models: a cosine is no logit."""
CHOOSABLE = {activation.name: activation for activation in (SIGMOID, IDENTITY)}
"""What checkpoints and cards may ask for, by name."""
