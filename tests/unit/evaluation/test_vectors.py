from __future__ import annotations

from array import array
from random import Random

import pytest

from rerank.core import Vector
from rerank.evaluation.vectors import cosines, vector_agreement


def vector(*numbers: float) -> Vector:
    return memoryview(array("f", numbers))


def test_similarities_equal_those_worked_out_by_hand() -> None:
    found = cosines([vector(3, 4), vector(1, 0), vector(1, 1)], [vector(4, 3), vector(0, 2), vector(-2, -2)])
    assert found == pytest.approx([24 / 25, 0, -1])


def test_the_length_of_a_vector_does_not_count() -> None:
    assert cosines([vector(0.1, 0.2)], [vector(10, 20)]) == pytest.approx([1])


def test_rounding_never_leads_beyond_one() -> None:
    numbers = [0.1 * place for place in range(1, 385)]
    assert cosines([vector(*numbers)], [vector(*numbers)])[0] <= 1


def test_vectors_of_other_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="vectors of 2 and of 3 numbers"):
        cosines([vector(1, 2)], [vector(1, 2, 3)])


@pytest.mark.parametrize("numbers", [(0.0, 0.0), (float("nan"), 1.0), (float("inf"), 1.0)])
def test_vectors_without_a_direction_are_refused(numbers: tuple[float, float]) -> None:
    with pytest.raises(
        ValueError, match=r"^a vector without a direction: all of its numbers are 0, or one is not finite$"
    ):
        cosines([vector(1, 2), vector(*numbers)], [vector(1, 2), vector(1, 2)])


def test_similarities_have_a_mean_a_minimum_and_a_deviation() -> None:
    found = vector_agreement([1.0, 0.9, 0.8])
    assert (found.texts, found.minimum) == (3, 0.8)
    assert found.mean == pytest.approx(0.9)
    assert found.deviation == pytest.approx((0.02 / 3) ** 0.5)


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_numbers_whose_squares_single_precision_cannot_hold_have_a_direction(size: float) -> None:
    assert cosines([vector(3 * size, 4 * size)], [vector(4 * size, 3 * size)]) == pytest.approx([24 / 25])


@pytest.mark.parametrize("sign", [1, -1])
def test_no_rounding_leads_beyond_the_ends(sign: int) -> None:
    chance = Random(3)
    vectors = [[chance.gauss(0, 1) for _ in range(50)] for _ in range(300)]
    found = cosines(
        [vector(*each) for each in vectors], [vector(*(sign * number for number in each)) for each in vectors]
    )
    assert found == pytest.approx([sign] * 300)
    assert max(map(abs, found)) <= 1
