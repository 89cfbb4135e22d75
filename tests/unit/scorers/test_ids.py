"""Rows of token ids behave like sequences of numbers, and are compared by them."""

from __future__ import annotations

import numpy
import pytest

from rerank.runtimes.ids import Ids

NUMBERS = [5, 0, 250_001, 2**31 - 1, 5]


def test_they_are_the_numbers_in_order() -> None:
    ids = Ids.of(NUMBERS)

    assert [*ids] == NUMBERS
    assert all(type(number) is int for number in ids)
    assert len(ids) == len(NUMBERS)
    assert ids.numbers.dtype == numpy.int32
    assert ids.numbers.tolist() == NUMBERS
    assert repr(Ids.of([1, 2])) == "Ids.of([1, 2])"


@pytest.mark.parametrize("part", [slice(None), slice(1, 3), slice(-2, None), slice(9, 12), slice(None, None, -1)])
def test_a_part_of_them_is_a_row_too(part: slice) -> None:
    assert Ids.of(NUMBERS)[part] == Ids.of(NUMBERS[part])


def test_one_of_them_is_a_number() -> None:
    ids = Ids.of(NUMBERS)

    assert (ids[0], ids[-2]) == (5, 2**31 - 1)
    assert type(ids[0]) is int
    with pytest.raises(IndexError):
        ids[5]
    assert 250_001 in ids
    assert 7 not in ids
    assert 7 not in Ids()


def test_rows_are_put_together() -> None:
    assert Ids.of([1, 2]) + Ids.of([3]) == Ids.of([1, 2, 3])
    assert Ids.of([4]) * 3 == Ids.of([4, 4, 4])
    assert Ids.of([4]) * 0 == Ids()


def test_equal_rows_are_one_key() -> None:
    known = {Ids.of(NUMBERS): "here"}

    assert known[Ids.of(tuple(NUMBERS))] == "here"
    assert Ids.of([1]) != Ids.of([2])
    assert Ids.of([1]) != (1,)
    assert Ids.of(known_row := Ids.of([1])) is known_row


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(OverflowError):
        Ids.of([2**31])
