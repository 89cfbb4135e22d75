"""Calibrations that are fitted: which curve, what it is worth, and when there is none to be had."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
import pytest

from rerank.calibration import Beta, Cubic, Isotonic, Method, Platt
from rerank.errors import SettingsError
from rerank.evaluation.calibrating import NoAgreement, Samples, calibrate, errors_of, to_labels, to_reference
from rerank.evaluation.collection import Collection
from rerank.evaluation.fits import FITS, Numbers, fit_beta, fit_cubic, fit_isotonic, fit_platt
from rerank.evaluation.rankers import Ranked
from rerank.evaluation.scoring import Scored
from rerank.gateway.ranking import rank
from rerank.results import DocumentScore

SCORES = numpy.linspace(0.01, 0.99, 200)


def samples(
    target: Callable[[Numbers], Numbers], noise: float = 0.0, queries: int = 20, documents: int = 20
) -> Samples:
    """Sigmoids of logits, and targets that are a function of the logits with noise."""
    chance = numpy.random.default_rng(7)
    logits = {str(query): chance.normal(-2, 4, documents) for query in range(queries)}
    return Samples(
        {query: (1 / (1 + numpy.exp(-values))).tolist() for query, values in logits.items()},
        {
            query: numpy.clip(target(values) + chance.normal(0, noise, documents), 0, 1).tolist()
            for query, values in logits.items()
        },
    )


def compressed(logits: Numbers) -> Numbers:
    """As an API may show them: a monotone, non-linear map that keeps to the lower end of 0..1."""
    return numpy.exp(numpy.minimum(logits - 11, 0) / 2)


class TestFits:
    def test_a_cubic_is_found_again(self) -> None:
        truth = Cubic(0.01, 0.99, (0.0, 0.1, 0.6, 0.9))
        found = fit_cubic(SCORES, numpy.array([truth(score) for score in SCORES]))
        assert found is not None
        assert found.heights == pytest.approx(truth.heights, abs=1e-4)

    def test_a_cubic_of_what_rises_and_falls_never_falls(self) -> None:
        found = fit_cubic(SCORES, 0.5 + 0.4 * numpy.sin(6 * SCORES))
        assert found is None or list(found.heights) == sorted(found.heights)

    def test_a_step_is_isotonic(self) -> None:
        found = fit_isotonic(SCORES, (SCORES > 0.5).astype(float))
        assert found is not None
        assert [found(0.2), found(0.8)] == [0, 1]

    def test_an_isotonic_curve_has_few_points(self) -> None:
        scores = numpy.linspace(0, 1, 5000)
        found = fit_isotonic(scores, scores**2)
        assert found is not None
        assert len(found.scores) == 500
        assert [found(score) for score in (0.1, 0.5, 0.9)] == pytest.approx([0.01, 0.25, 0.81], abs=1e-4)

    def test_a_logistic_curve_is_found_again(self) -> None:
        truth = Platt(6.0, -2.0)
        found = fit_platt(SCORES, numpy.array([truth(score) for score in SCORES]))
        assert found is not None
        assert (found.slope, found.offset) == pytest.approx((6.0, -2.0), rel=1e-3)

    def test_a_logistic_curve_may_rise_slowly(self) -> None:
        truth = Platt(0.5, -0.25)
        found = fit_platt(SCORES, numpy.array([truth(score) for score in SCORES]))
        assert found is not None
        assert (found.slope, found.offset) == pytest.approx((0.5, -0.25), rel=1e-2)

    def test_a_cubic_may_rise_at_its_beginning_only(self) -> None:
        found = fit_cubic(SCORES, numpy.array([Cubic(0.01, 0.99, (0.1, 0.5, 0.5, 0.5))(score) for score in SCORES]))
        assert found is not None
        assert found.heights == pytest.approx((0.1, 0.5, 0.5, 0.5), abs=1e-4)

    def test_a_beta_curve_is_found_again(self) -> None:
        truth = Beta(0.5, 2.0, -1.0)
        found = fit_beta(SCORES, numpy.array([truth(score) for score in SCORES]))
        assert found is not None
        assert (found.a, found.b, found.c) == pytest.approx((0.5, 2.0, -1.0), rel=1e-2)

    def test_a_cubic_may_leave_0_and_1(self) -> None:
        found = fit_cubic(SCORES, 2 * SCORES - 0.5)
        assert found is not None
        assert (found.start, found.end) == (0.01, 0.99)
        assert found.heights == pytest.approx((-0.48, 0.52 / 3, 2.48 / 3, 1.48), abs=1e-6)

    def test_the_other_slope_of_beta_that_would_be_negative_is_0(self) -> None:
        odds = numpy.exp(-numpy.log(SCORES) - 2 * numpy.log1p(-SCORES) - 3)
        found = fit_beta(SCORES, odds / (1 + odds))
        assert found is not None
        assert (found.a, found.b > 0) == (0, True)

    def test_beta_is_fitted_to_scores_of_exactly_0_and_1(self) -> None:
        found = fit_beta(numpy.array([0.0, 0.2, 0.8, 1.0]), numpy.array([0.1, 0.2, 0.8, 0.9]))
        assert found is not None
        assert found(0.0) < found(0.5) < found(1.0)

    def test_classes_are_told_apart_by_a_steep_curve(self) -> None:
        found = fit_platt(SCORES, (SCORES > 0.5).astype(float))
        assert found is not None
        assert [found(0.4), found(0.6)] == pytest.approx([0, 1], abs=1e-3)

    def test_a_slope_of_beta_that_would_be_negative_is_0(self) -> None:
        odds = numpy.exp(2 * numpy.log(SCORES) + numpy.log1p(-SCORES))
        found = fit_beta(SCORES, odds / (1 + odds))
        assert found is not None
        assert (found.a > 0, found.b) == (True, 0)

    def test_beta_is_for_scores_between_0_and_1(self) -> None:
        assert fit_beta(4 * SCORES, SCORES) is None
        assert fit_beta(1.5 * SCORES, SCORES) is None
        assert fit_beta(SCORES - 0.1, SCORES) is None

    @pytest.mark.parametrize("method", FITS)
    def test_targets_that_fall_have_no_curve(self, method: Method) -> None:
        assert FITS[method](SCORES, 1 - SCORES) is None

    @pytest.mark.parametrize("method", FITS)
    @pytest.mark.parametrize("targets", [SCORES * 0, SCORES * 0 + 1])
    def test_targets_that_are_all_alike_have_no_curve(self, method: Method, targets: Numbers) -> None:
        assert FITS[method](SCORES, targets) is None

    def test_scores_that_are_nearly_alike_have_no_curve_with_a_slope(self) -> None:
        targets = (numpy.random.default_rng(0).random(200) < SCORES).astype(float)
        found = {method: fit(0.5 + SCORES * 1e-10, targets) for method, fit in FITS.items()}
        assert [method for method, curve in found.items() if curve] == ["cubic", "isotonic"]

    @pytest.mark.parametrize("method", FITS)
    def test_scores_that_are_all_alike_have_no_curve(self, method: Method) -> None:
        assert FITS[method](SCORES * 0 + 0.5, SCORES) is None


class TestAgreement:
    def test_an_api_with_another_distribution_is_met_and_no_order_changes(self) -> None:
        given = samples(compressed, noise=0.003)
        fitted = calibrate(given)
        assert 0 < (fitted.before.pearson or 0) < 0.65
        assert (fitted.after.pearson or 0) >= 0.98
        assert fitted.after.mean < fitted.before.mean / 20
        assert fitted.after.calibration < fitted.before.calibration / 20
        assert min(fitted.tried.values()) == fitted.tried[fitted.method] < fitted.constant / 4
        for scores in given.scores.values():
            plain = rank([DocumentScore(score, score) for score in scores], None)
            mapped = rank([DocumentScore(fitted.curve(score), score) for score in scores], None)
            assert [document.index for document in mapped] == [document.index for document in plain]

    def test_a_reference_with_a_random_head_is_not_fitted(self) -> None:
        chance = numpy.random.default_rng(3)
        with pytest.raises(NoAgreement, match=r"correlate by -?0\.\d+ only"):
            calibrate(samples(lambda logits: chance.random(len(logits)), queries=50))

    def test_a_reference_that_orders_the_other_way_round_is_not_fitted(self) -> None:
        with pytest.raises(
            NoAgreement, match=r"^no curve that rises fits: higher scores go with equal or lower targets$"
        ):
            calibrate(samples(lambda logits: 1 / (1 + numpy.exp(logits))))

    def test_a_constant_reference_is_not_fitted(self) -> None:
        with pytest.raises(NoAgreement):
            calibrate(samples(lambda logits: 0 * logits + 0.5))

    def test_too_few_queries_to_tell_are_not_fitted(self) -> None:
        with pytest.raises(
            NoAgreement, match=r"^at least two queries are needed: one is left out of the fit to test it$"
        ):
            calibrate(samples(compressed, queries=1))
        with pytest.raises(NoAgreement, match=r"^on queries left out, no curve is better than the mean"):
            calibrate(samples(compressed, queries=2))

    def test_what_is_learnt_of_a_query_does_not_count_for_it(self) -> None:
        # with targets by chance, a curve through all points would seem to agree
        chance = numpy.random.default_rng(5)
        with pytest.raises(NoAgreement, match=r"correlate by -?0\.\d+ only: there is no common ground to fit$"):
            calibrate(samples(lambda logits: chance.random(len(logits)), queries=12, documents=2), "isotonic")

    def test_the_method_with_the_least_error_is_chosen(self) -> None:
        fitted = calibrate(samples(lambda logits: 0.2 + 0.3 * (logits > -2) + 0.4 * (logits > 1), 0.01))
        assert fitted.method == "isotonic"
        assert len(fitted.tried) == 4
        assert all(error > 2 * fitted.tried["isotonic"] for name, error in fitted.tried.items() if name != "isotonic")

    def test_too_few_queries_to_rule_out_chance_are_not_fitted(self) -> None:
        # with three queries chance alone does as well one time in four
        with pytest.raises(NoAgreement, match=r"^on queries left out, no curve is better than the mean of the targets"):
            calibrate(samples(compressed, queries=3))

    def test_errors_are_the_roots_of_mean_squares(self) -> None:
        queries = list(map(str, range(10)))
        given = Samples(dict.fromkeys(queries, (0.1, 0.9, 0.5)), dict.fromkeys(queries, (0.0, 1.0, 0.5)))
        fitted = calibrate(given, "isotonic")
        assert fitted.tried == pytest.approx({"isotonic": 0.0})
        # of the mean, 0.5
        assert fitted.constant == pytest.approx((0.5 / 3) ** 0.5)
        assert fitted.before.mean == pytest.approx(0.2 / 3)
        assert fitted.after.mean == pytest.approx(0)
        assert [fitted.curve(score) for score in (0.1, 0.5, 0.9)] == pytest.approx([0, 0.5, 1])

    def test_queries_may_have_different_numbers_of_documents(self) -> None:
        queries = list(map(str, range(10)))
        scores = {query: tuple(numpy.linspace(0.1, 0.9, 2 + int(query))) for query in queries}
        targets = {query: tuple(score**2 for score in values) for query, values in scores.items()}
        fitted = calibrate(Samples(scores, targets))
        assert fitted.method in FITS
        assert fitted.tried[fitted.method] < fitted.constant / 20

    @pytest.mark.parametrize("method", FITS)
    def test_a_method_that_is_demanded_is_used(self, method: Method) -> None:
        fitted = calibrate(samples(lambda logits: 0.9 / (1 + numpy.exp(-logits)), 0.02), method)
        assert fitted.method == method
        assert list(fitted.tried) == [method]

    def test_the_same_seed_gives_the_same_calibration(self) -> None:
        given = samples(compressed, 0.01)
        assert calibrate(given, seed=5) == calibrate(given, seed=5)
        assert calibrate(given, seed=5).tried != calibrate(given, seed=6).tried


class TestErrors:
    def test_equal_scores_have_no_error(self) -> None:
        errors = errors_of(SCORES, SCORES)
        assert errors.pearson == pytest.approx(1)
        assert errors.mean == errors.calibration == 0

    def test_calibration_is_the_difference_of_means_by_bin(self) -> None:
        # two bins: means 0.1 against 0.5, and 0.9 against 1
        errors = errors_of(numpy.array([0.1, 0.1, 0.9, 0.9]), numpy.array([0.0, 1.0, 1.0, 1.0]))
        assert errors.mean == pytest.approx(0.3)
        assert errors.calibration == pytest.approx((0.4 * 2 + 0.1 * 2) / 4)

    @pytest.mark.parametrize(
        ("scores", "targets", "calibration"),
        [
            # the first two bins, the last two bins, and 1 in the last one
            ((0.01, 0.1), (0.06, 0.05), 0.05),
            ((0.9, 0.95), (0.85, 1.0), 0.05),
            ((0.95, 1.0), (1.0, 0.95), 0.0),
            ((-0.05, 0.01), (0.0, -0.04), 0.0),
        ],
    )
    def test_there_are_fifteen_bins_from_0_to_1(
        self, scores: tuple[float, ...], targets: tuple[float, ...], calibration: float
    ) -> None:
        assert errors_of(numpy.array(scores), numpy.array(targets)).calibration == pytest.approx(calibration)

    def test_scores_beyond_0_and_1_belong_to_the_outer_bins(self) -> None:
        assert errors_of(numpy.array([-3.0, 4.0]), numpy.array([0.0, 1.0])).calibration == pytest.approx(3)


COLLECTION = Collection(
    "small",
    {"a": "one", "b": "two", "c": "three"},
    {"x": "X", "y": "Y"},
    {"a": ("x", "y"), "b": ("y", "x"), "c": ("x",)},
    {"a": {"x": 2, "y": 0}, "b": {"x": 1}},
)


def scored(model: str, **relevance: tuple[float, ...]) -> Scored:
    return Scored(model, {query: Ranked(values, (), 0, 0.0) for query, values in relevance.items()})


class TestSamples:
    OURS = scored("ours", a=(0.1, 0.2), b=(0.3, 0.4), c=(0.5,))

    def test_a_references_scores_are_the_targets(self) -> None:
        theirs = scored("theirs", a=(0.5, 0.6), b=(0.7, 0.8), c=(1.0,))
        given = to_reference(self.OURS, theirs)
        assert [values.tolist() for values in given.flat] == [[0.1, 0.2, 0.3, 0.4, 0.5], [0.5, 0.6, 0.7, 0.8, 1.0]]
        assert given.pairs == 5

    def test_scores_of_exactly_0_and_1_are_relevance(self) -> None:
        given = to_reference(scored("ours", a=(0.1, 0.2)), scored("theirs", a=(0.0, 1.0)))
        assert given.targets == {"a": (0.0, 1.0)}

    def test_a_score_that_is_no_relevance_is_named(self) -> None:
        with pytest.raises(SettingsError) as caught:
            to_reference(self.OURS, scored("theirs", a=(0.5, 0.6), b=(0.7, -7.25), c=(9.0,)))
        assert str(caught.value) == (
            "theirs gives -7.25: only scores from 0 to 1 are relevance that others can be mapped to"
        )

    @pytest.mark.parametrize("beyond", [1.5, -0.1, math.nan])
    def test_a_reference_whose_scores_are_no_relevance_is_refused(self, beyond: float) -> None:
        with pytest.raises(SettingsError, match="theirs gives"):
            to_reference(self.OURS, scored("theirs", a=(0.5, beyond), b=(0.7, 0.8), c=(1.0,)))

    def test_judgements_are_targets_and_unjudged_documents_of_judged_queries_are_not_relevant(self) -> None:
        given = to_labels(self.OURS, COLLECTION)
        assert given.scores == {"a": (0.1, 0.2), "b": (0.3, 0.4)}
        assert given.targets == {"a": [1.0, 0.0], "b": [0.0, 1.0]}

    def test_the_hash_is_of_texts_and_targets(self) -> None:
        given = to_labels(self.OURS, COLLECTION)
        assert given.digest(COLLECTION) == to_labels(scored("o", a=(0, 0), b=(0, 0)), COLLECTION).digest(COLLECTION)
        others = Samples(given.scores, {**given.targets, "b": [1.0, 1.0]})
        assert others.digest(COLLECTION) != given.digest(COLLECTION)

    def test_the_hash_is_the_same_in_every_release(self) -> None:
        assert to_labels(self.OURS, COLLECTION).digest(COLLECTION) == "b1b75290b85612be7469584379992719"

    def test_the_seed_decides_the_folds_and_few_queries_have_one_each(self) -> None:
        given = samples(compressed, queries=12)
        assert given.folds(1) == given.folds(1) != given.folds(2)
        assert sorted(samples(compressed, queries=3).folds(0)) == [["0"], ["1"], ["2"]]

    def test_folds_divide_the_queries(self) -> None:
        folds = samples(compressed, queries=12).folds(seed=1)
        assert sorted(map(len, folds)) == [2, 2, 2, 3, 3]
        assert {query for fold in folds for query in fold} == set(map(str, range(12)))


def test_every_fit_reports_the_curve_of_its_method() -> None:
    kinds = {"cubic": Cubic, "isotonic": Isotonic, "beta": Beta, "platt": Platt}
    for method, fit in FITS.items():
        assert isinstance(fit(SCORES, SCORES**2), kinds[method])
