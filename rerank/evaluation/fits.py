"""Fits of a calibration's curve to scores and their targets, by scikit-learn and scipy. Deterministic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy
from numpy.typing import NDArray

from rerank.calibration import Beta, Cubic, Curve, Isotonic, Method, Platt
from rerank.evaluation.needs import needed

Numbers = NDArray[numpy.float64]
_Curve = TypeVar("_Curve", Beta, Platt)
Fit = Callable[[Numbers, Numbers], Curve | None]
"""The curve of scores and their targets within 0..1; None if the method has no curve that rises for them."""

_POINTS = 500
"""Maximum points of an isotonic curve, evenly chosen among those of the fit."""
_FLAT = 1e-9
"""Rise of a cubic that is rounding."""
_EDGE = 1e-12
_WEAK = 1e6
"""Inverse of a regularisation that only keeps separable data from running away."""


def fit_cubic(scores: Numbers, targets: Numbers) -> Cubic | None:
    """Least squares among the polynomials whose Bernstein coefficients rise."""
    start, end = float(scores.min()), float(scores.max())
    if not start < end:
        return None
    part = ((scores - start) / (end - start))[:, None]
    degrees = numpy.arange(4)
    basis = numpy.array([1, 3, 3, 1]) * part**degrees * (1 - part) ** degrees[::-1]
    # a height is the one before and a rise
    rises = needed("scipy.optimize").lsq_linear(
        basis @ numpy.tri(4), targets, bounds=([-math.inf, 0, 0, 0], math.inf), method="bvls"
    )
    first, *more = rises.x
    heights = numpy.cumsum([first, *numpy.maximum(more, 0)])
    return None if heights[3] - heights[0] < _FLAT else Cubic(start, end, tuple(map(float, heights)))  # type: ignore[arg-type]


def fit_isotonic(scores: Numbers, targets: Numbers) -> Isotonic | None:
    """Least squares among all curves that never fall, through at most 500 points."""
    fitted = needed("sklearn.isotonic").IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip")
    fitted.fit(scores, targets)
    found, relevances = fitted.X_thresholds_, fitted.y_thresholds_
    kept = numpy.unique(numpy.linspace(0, len(found) - 1, min(len(found), _POINTS)).astype(int))
    rising = numpy.clip(numpy.maximum.accumulate(relevances[kept]), 0, 1)
    if rising[0] == rising[-1]:
        return None
    return Isotonic(tuple(map(float, found[kept])), tuple(map(float, rising)))


def fit_platt(scores: Numbers, targets: Numbers) -> Platt | None:
    """Logistic regression on the score."""
    found = _logistic(scores[:, None], targets)
    return _within_bounds(Platt, *found) if found and found[0] > 0 else None


def fit_beta(scores: Numbers, targets: Numbers) -> Beta | None:
    """Logistic regression on the score's logarithms; a slope that would be negative is 0, as its authors have it."""
    if scores.min() < 0 or scores.max() > 1:
        return None
    inside = numpy.clip(scores, _EDGE, 1 - _EDGE)
    logarithms = numpy.column_stack([numpy.log(inside), -numpy.log1p(-inside)])
    found = _logistic(logarithms, targets)
    if found is None:
        return None
    a, b, c = found
    if a < 0:
        a, (b, c) = 0.0, _logistic(logarithms[:, 1:], targets) or (0.0, 0.0)
    elif b < 0:
        b, (a, c) = 0.0, _logistic(logarithms[:, :1], targets) or (0.0, 0.0)
    return _within_bounds(Beta, a, b, c) if min(a, b) >= 0 and a + b > 0 else None


FITS: dict[Method, Fit] = {"cubic": fit_cubic, "isotonic": fit_isotonic, "beta": fit_beta, "platt": fit_platt}


def _within_bounds(curve: Callable[..., _Curve], *parameters: float) -> _Curve | None:
    """The curve; None where scores are too close together for the numbers that it may have."""
    try:
        return curve(*parameters)
    except ValueError:
        return None


def _logistic(features: Numbers, targets: Numbers) -> tuple[float, ...] | None:
    """Slopes and offset; None if all targets or all features are alike. A target is the share of the class 1."""
    spread, mean = features.std(axis=0), features.mean(axis=0)
    if not spread.all() or not 0 < targets.mean() < 1:
        return None
    scaled = (features - mean) / spread
    rows, classes = numpy.vstack([scaled, scaled]), numpy.repeat([1, 0], len(targets))
    shares = numpy.concatenate([targets, 1 - targets])
    known = shares > 0
    model: Any = needed("sklearn.linear_model").LogisticRegression(C=_WEAK, max_iter=1000)
    model.fit(rows[known], classes[known], sample_weight=shares[known])
    slopes = model.coef_[0] / spread
    return *map(float, slopes), float(model.intercept_[0] - slopes @ mean)
