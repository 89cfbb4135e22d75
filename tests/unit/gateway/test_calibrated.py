from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.activations import COSINE, IDENTITY, SIGMOID, ToRelevance
from rerank.backends.base import LoadedModel
from rerank.calibration import Calibration, Curve, Isotonic
from rerank.catalog.cards import ModelCard
from rerank.core import Pair, RawScore, ScoringRequest
from rerank.errors import InvalidRequest, ModelUnavailable, NotOffered, RerankError
from rerank.gateway.calibrated import calibrated, check_calibrated, check_weights, wanted_calibration
from rerank.gateway.ranking import rank
from rerank.results import DocumentScore
from tests.support.fake_loader import WEIGHTS, without_backend
from tests.unit.test_calibration import CURVES

STEP = Isotonic((0.4, 0.6), (0.2, 0.9))
REQUEST = ScoringRequest((Pair("q", "d"),))
CARD = ModelCard("acme/words")


def of(curve: Curve = STEP, weights: str = WEIGHTS) -> Calibration:
    return Calibration("acme/words", "isotonic", curve, weights, "labels", "f" * 32, "2026-11-26")


def ranked(raw: Sequence[float], to_relevance: ToRelevance, min_score: float | None = None) -> list[tuple[int, float]]:
    scores = [DocumentScore(to_relevance(logit), *RawScore(logit, 1)) for logit in raw]
    return [(document.index, document.relevance_score) for document in rank(scores, None, min_score)]


class TestOrder:
    LOGITS = st.lists(st.floats(-30, 30) | st.floats(-1, 1) | st.sampled_from([0.0, 1.0]), max_size=20)
    ACTIVATIONS = st.sampled_from([SIGMOID, COSINE, IDENTITY])

    @given(curve=CURVES, raw=LOGITS, activation=ACTIVATIONS)
    def test_a_calibration_never_changes_the_order(
        self, curve: Curve, raw: list[float], activation: ToRelevance
    ) -> None:
        plain = ranked(raw, activation)
        mapped = ranked(raw, calibrated(activation, of(curve)))
        assert [index for index, _ in mapped] == [index for index, _ in plain]
        relevances = [relevance for _, relevance in mapped]
        assert relevances == sorted(relevances, reverse=True)

    @given(curve=CURVES, raw=LOGITS, threshold=st.floats(0, 1))
    def test_a_threshold_cuts_the_calibrated_ranking_at_one_place(
        self, curve: Curve, raw: list[float], threshold: float
    ) -> None:
        whole = ranked(raw, calibrated(SIGMOID, of(curve)))
        cut = ranked(raw, calibrated(SIGMOID, of(curve)), threshold)
        assert cut == whole[: len(cut)]
        assert all(relevance < threshold for _, relevance in whole[len(cut) :])

    def test_ties_of_a_flat_stretch_stay_in_the_order_of_the_logits(self) -> None:
        flat = of(Isotonic((0.5,), (0.5,)))
        assert ranked([0.1, 0.3, 0.2], calibrated(SIGMOID, flat)) == [(1, 0.5), (2, 0.5), (0, 0.5)]

    def test_without_a_calibration_relevance_is_the_models(self) -> None:
        assert calibrated(SIGMOID, None) is SIGMOID


class TestWhatIsWanted:
    @pytest.mark.parametrize(
        ("asked", "says", "expected"),
        [
            (None, None, None),
            (None, "auto", of()),
            (None, Path("x.json"), of()),
            (True, None, of()),
            (True, "auto", of()),
            (False, "auto", None),
            (False, None, None),
        ],
    )
    def test_the_request_decides_on_calibration_and_otherwise_the_card(
        self, asked: bool | None, says: Path | None, expected: Calibration | None
    ) -> None:
        request, card = replace(REQUEST, calibrated=asked), replace(CARD, calibration=says)
        asked_for: list[ModelCard] = []

        def calibration_of(card: ModelCard) -> Calibration:
            asked_for.append(card)
            return of()

        assert wanted_calibration(request, card, calibration_of) == expected
        assert asked_for == ([] if expected is None else [card])

    def test_a_card_may_say_auto_without_a_file(self) -> None:
        assert wanted_calibration(REQUEST, replace(CARD, calibration="auto"), lambda _: None) is None

    def test_a_calibrated_request_for_a_model_without_calibration_is_refused(self) -> None:
        with pytest.raises(NotOffered, match=r"acme/words has no calibration") as caught:
            wanted_calibration(replace(REQUEST, calibrated=True), CARD, lambda _: None)
        assert caught.value.param == "calibrated"

    def test_raw_logits_cannot_be_calibrated(self) -> None:
        check_calibrated(replace(REQUEST, activated=False))
        check_calibrated(replace(REQUEST, calibrated=True))
        with pytest.raises(InvalidRequest) as caught:
            check_calibrated(replace(REQUEST, calibrated=True, activated=False))
        assert str(caught.value) == "Raw logits are not calibrated: ask for relevance or leave it out."
        assert caught.value.param == "calibrated"


class TestOtherWeights:
    MODEL = without_backend(CARD)

    def test_a_calibration_of_the_same_weights_is_accepted(self) -> None:
        check_weights(REQUEST, self.MODEL, of())

    @pytest.mark.parametrize(
        ("asked", "error", "param"), [(True, NotOffered, "calibrated"), (None, ModelUnavailable, None)]
    )
    def test_a_calibration_of_other_weights_is_refused_with_both_fingerprints(
        self, asked: bool | None, error: type[RerankError], param: str | None
    ) -> None:
        with pytest.raises(error) as caught:
            check_weights(replace(REQUEST, calibrated=asked), self.MODEL, of(weights="1" * 32))
        assert str(caught.value) == (
            "The calibration of acme/words was fitted to other weights, or to another prompt or activation: "
            "fingerprint 111111111111, but the model has 000000000000. "
            "Repeat `rerank calibrate`, or ask with `calibrated: false`."
        )
        assert caught.value.param == param

    def test_weights_that_nothing_identifies_are_others(self) -> None:
        unknown = LoadedModel(CARD, self.MODEL.backend)
        with pytest.raises(ModelUnavailable, match=r"but the model has none\."):
            check_weights(REQUEST, unknown, of())
