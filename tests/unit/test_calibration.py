from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.calibration import MAX_POINTS, Beta, Cubic, Curve, Isotonic, Platt

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCORES = st.floats(-20, 20) | st.floats(0, 1) | FINITE
SHARES = st.floats(0, 1)
POSITIVE = st.floats(1e-6, 1e3)


@st.composite
def isotonic(draw: st.DrawFn) -> Isotonic:
    scores = sorted(draw(st.sets(st.floats(-20, 20), min_size=1, max_size=12)))
    relevances = sorted(draw(st.lists(SHARES, min_size=len(scores), max_size=len(scores))))
    return Isotonic(tuple(scores), tuple(relevances))


@st.composite
def cubics(draw: st.DrawFn) -> Cubic:
    start = draw(st.floats(-20, 20))
    end = draw(st.floats(math.nextafter(start, math.inf), 21))
    first, second, third, last = sorted(draw(st.lists(st.floats(-2, 3), min_size=4, max_size=4)))
    return Cubic(start, end, (first, second, third, last))


CURVES: st.SearchStrategy[Curve] = st.one_of(
    isotonic(),
    cubics(),
    st.builds(Platt, POSITIVE, st.floats(-50, 50)),
    st.builds(Beta, POSITIVE, POSITIVE, st.floats(-50, 50)),
)


class TestEveryCurve:
    @given(curve=CURVES, score=SCORES)
    def test_lies_between_0_and_1(self, curve: Curve, score: float) -> None:
        assert 0 <= curve(score) <= 1

    @given(curve=CURVES, one=SCORES, other=SCORES)
    def test_never_falls(self, curve: Curve, one: float, other: float) -> None:
        low, high = sorted((one, other))
        assert curve(low) <= curve(high)

    @given(curve=CURVES, score=st.floats(-20, 20) | SHARES)
    def test_never_falls_from_a_number_to_the_next(self, curve: Curve, score: float) -> None:
        assert curve(score) <= curve(math.nextafter(score, math.inf))


class TestIsotonic:
    CURVE = Isotonic((0.0, 1.0, 3.0), (0.1, 0.1, 0.9))

    @pytest.mark.parametrize(("score", "expected"), [(-5, 0.1), (0, 0.1), (0.5, 0.1), (2, 0.5), (3, 0.9), (9, 0.9)])
    def test_goes_through_its_points_and_is_constant_outside(self, score: float, expected: float) -> None:
        assert self.CURVE(score) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("scores", "relevances", "message"),
        [
            ((), (), "`scores` are 1 to 4096 numbers"),
            ((0.0,) * (MAX_POINTS + 1), (0.0,) * (MAX_POINTS + 1), "`scores` are 1 to 4096 numbers"),
            ((0.0, 1.0), (0.5,), "`scores` and `relevances` are equally many$"),
            ((1.0, 1.0), (0.1, 0.2), "`scores` have to rise$"),
            ((0.0, 1.0), (0.2, 0.1), "`relevances` must not fall$"),
            ((0.0, 1.0), (-0.1, 0.2), "`relevances` lie between 0 and 1$"),
            ((0.0, 1.0), (0.1, 1.2), "`relevances` lie between 0 and 1$"),
            ((0.0, math.nan), (0.1, 0.2), "`scores` has to be between"),
            ((0.0, 1e10), (0.1, 0.2), "`scores` has to be between"),
            ((0.0, 1.0), (0.1, math.nan), "`relevances` has to be between"),
        ],
    )
    def test_other_points_are_refused(
        self, scores: tuple[float, ...], relevances: tuple[float, ...], message: str
    ) -> None:
        with pytest.raises(ValueError, match=f"^{message}"):
            Isotonic(scores, relevances)

    def test_has_4096_points_at_most(self) -> None:
        points = tuple(float(place) for place in range(4096))
        assert Isotonic(points, (0.5,) * 4096)(2.5) == 0.5


class TestCubic:
    def test_is_the_polynomial_between_its_ends(self) -> None:
        curve = Cubic(-1.0, 3.0, (0.0, 0.3, 0.4, 1.0))
        for score in (-1.0, -0.3, 0.5, 1.9, 3.0):
            part = (score + 1) / 4
            assert curve(score) == pytest.approx(0.9 * part - 0.6 * part**2 + 0.7 * part**3, abs=1e-6)

    def test_is_constant_outside_and_cut_off_at_0_and_1(self) -> None:
        curve = Cubic(0.0, 1.0, (-1.0, 0.0, 1.0, 2.0))
        assert [curve(score) for score in (-9.0, 0.0, 0.5, 1.0, 9.0)] == pytest.approx([0, 0, 0.5, 1, 1])

    @pytest.mark.parametrize(
        ("start", "end", "heights", "message"),
        [
            (1.0, 1.0, (0.0, 0.1, 0.2, 0.3), "`end` has to be greater than `start`$"),
            (0.0, 1.0, (0.0, 0.3, 0.2, 0.4), "`heights` must not fall$"),
            (math.nan, 1.0, (0.0, 0.1, 0.2, 0.3), "`start` has to be between"),
            (0.0, math.inf, (0.0, 0.1, 0.2, 0.3), "`end` has to be between"),
            (0.0, 1.0, (0.0, 0.1, 0.2, math.inf), "`heights` has to be between"),
        ],
    )
    def test_one_that_falls_or_has_no_ends_is_refused(
        self, start: float, end: float, heights: Any, message: str
    ) -> None:
        with pytest.raises(ValueError, match=f"^{message}"):
            Cubic(start, end, heights)


class TestLogisticCurves:
    def test_platt_is_the_logistic_function_of_a_line(self) -> None:
        assert Platt(2.0, -1.0)(0.5) == 0.5
        assert Platt(2.0, -1.0)(0.5 + math.log(3) / 2) == pytest.approx(0.75)

    def test_beta_with_equal_slopes_is_linear_in_the_logit(self) -> None:
        assert Beta(1.0, 1.0, 0.0)(0.3) == pytest.approx(0.3)
        assert Beta(2.0, 2.0, 0.0)(0.75) == pytest.approx(0.9)

    def test_beta_with_one_slope_is_a_power(self) -> None:
        # odds x / 1
        assert Beta(1.0, 0.0, 0.0)(0.5) == pytest.approx(0.5 / 1.5)

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: Platt(0.0, 1.0), "`slope` has to be above 0$"),
            (lambda: Platt(-1.0, 1.0), "`slope` has to be above 0$"),
            (lambda: Platt(math.nan, 1.0), "`slope` has to be between"),
            (lambda: Platt(1.0, math.inf), "`offset` has to be between"),
            (lambda: Beta(-1.0, 2.0, 0.0), "`a` and `b` are at least 0, and one of them is above it$"),
            (lambda: Beta(0.0, 0.0, 0.0), "`a` and `b` are at least 0, and one of them is above it$"),
            (lambda: Beta(math.nan, 1.0, 0.0), "`a` has to be between"),
            (lambda: Beta(1.0, 2e9, 0.0), "`b` has to be between"),
            (lambda: Beta(1.0, 1.0, math.nan), "`c` has to be between"),
        ],
    )
    def test_one_that_does_not_rise_is_refused(self, make: Callable[[], Curve], message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}"):
            make()
