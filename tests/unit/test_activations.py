from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.activations import COSINE, IDENTITY, SIGMOID, Activation

FINITE = st.floats(allow_nan=False, allow_infinity=False)


class TestSigmoid:
    @pytest.mark.parametrize(("logit", "expected"), [(0.0, 0.5), (math.log(3), 0.75), (-math.log(3), 0.25)])
    def test_is_the_logistic_function(self, logit: float, expected: float) -> None:
        assert SIGMOID(logit) == pytest.approx(expected, rel=1e-15)

    @pytest.mark.parametrize(("logit", "expected"), [(1e4, 1.0), (-1e4, 0.0), (1.7e308, 1.0), (-1.7e308, 0.0)])
    def test_huge_logits_do_not_overflow(self, logit: float, expected: float) -> None:
        assert SIGMOID(logit) == expected

    def test_keeps_apart_high_scores_that_single_precision_would_tie(self) -> None:
        scores = [SIGMOID(18 + step / 8) for step in range(65)]
        assert len(set(scores)) == 65
        assert max(scores) < 1.0

    @given(FINITE)
    def test_is_symmetric(self, logit: float) -> None:
        both = SIGMOID(logit) + SIGMOID(-logit)
        assert both == pytest.approx(1.0, abs=1e-15)


class TestOtherActivations:
    @pytest.mark.parametrize(("cosine", "expected"), [(-1.0, 0.0), (0.0, 0.5), (1.0, 1.0), (0.5, 0.75)])
    def test_a_cosine_is_shifted_and_halved(self, cosine: float, expected: float) -> None:
        assert COSINE(cosine) == expected

    @pytest.mark.parametrize(("cosine", "expected"), [(1.0000002, 1.0), (-1.0000002, 0.0)])
    def test_a_cosine_that_rounding_pushed_out_stays_in_range(self, cosine: float, expected: float) -> None:
        assert COSINE(cosine) == expected

    @pytest.mark.parametrize("activation", [SIGMOID, IDENTITY])
    def test_a_scale_divides_the_logit_first(self, activation: Activation) -> None:
        assert Activation("scaled", activation.function, 4.0)(6.0) == activation(1.5)

    @given(FINITE)
    def test_identity_gives_the_logit(self, logit: float) -> None:
        assert IDENTITY(logit) == logit


@pytest.mark.parametrize("activation", [SIGMOID, COSINE], ids=["sigmoid", "cosine"])
class TestRelevanceLaws:
    @given(logit=FINITE)
    def test_lies_between_0_and_1(self, activation: Activation, logit: float) -> None:
        assert 0.0 <= activation(logit) <= 1.0

    @given(one=FINITE, other=FINITE)
    def test_never_falls_as_the_logit_rises(self, activation: Activation, one: float, other: float) -> None:
        low, high = sorted((one, other))
        assert activation(low) <= activation(high)

    @given(logit=st.floats(-800, 800))
    def test_never_falls_from_a_number_to_the_next(self, activation: Activation, logit: float) -> None:
        assert activation(logit) <= activation(math.nextafter(logit, math.inf))
