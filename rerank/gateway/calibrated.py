"""Relevance as request and card want it: calibrated or as the model gives it. Pure."""

from __future__ import annotations

from collections.abc import Callable

from rerank.activations import ToRelevance
from rerank.backends.base import LoadedModel
from rerank.calibration import Calibration
from rerank.catalog.cards import ModelCard
from rerank.core import ScoringRequest
from rerank.errors import InvalidRequest, ModelUnavailable, NotOffered

CalibrationOf = Callable[[ModelCard], Calibration | None]
"""The calibration of a card, if there is one."""


def check_calibrated(request: ScoringRequest) -> None:
    """Raise InvalidRequest for a request that wants calibrated relevance and raw logits."""
    if request.calibrated and not request.activated:
        raise InvalidRequest("Raw logits are not calibrated: ask for relevance or leave it out.", param="calibrated")


def wanted_calibration(request: ScoringRequest, card: ModelCard, calibration_of: CalibrationOf) -> Calibration | None:
    """The calibration that a model's relevance is to have; None if it is to have none. Before the model is loaded.

    Raises NotOffered if the request wants one and there is none.
    """
    wanted = card.calibration is not None if request.calibrated is None else request.calibrated
    calibration = calibration_of(card) if wanted else None
    if request.calibrated and calibration is None:
        raise NotOffered(f"{card.id} has no calibration: `rerank calibrate` makes one.", param="calibrated")
    return calibration


def calibrated(activation: ToRelevance, calibration: Calibration | None) -> ToRelevance:
    """The way from a raw logit to relevance, calibrated if there is a calibration."""
    return (lambda logit: calibration(activation(logit))) if calibration else activation


def check_weights(request: ScoringRequest, model: LoadedModel, calibration: Calibration) -> None:
    """Raise an error if the calibration was fitted to other scores than this model gives.

    It is the request's if the request wants the calibration, else the card's.
    """
    if calibration.weights == model.weights:
        return
    message = (
        f"The calibration of {model.card.id} was fitted to other weights, or to another prompt or activation: "
        f"fingerprint {calibration.weights[:12]}, but the model has {model.weights[:12] or 'none'}. "
        "Repeat `rerank calibrate`, or ask with `calibrated: false`."
    )
    raise NotOffered(message, param="calibrated") if request.calibrated else ModelUnavailable(message)
