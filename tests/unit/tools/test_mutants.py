from __future__ import annotations

import pytest

from tools.mutants import verdict

COUNTS = {"killed": 94, "timeout": 1, "survived": 5, "no_tests": 0, "suspicious": 0}


def test_enough_noticed_mutants_pass() -> None:
    assert verdict(COUNTS) == (True, "95 of 100 mutants were noticed, 95.0%")


@pytest.mark.parametrize("unnoticed", ["survived", "no_tests", "suspicious"])
def test_one_unnoticed_mutant_too_many_fails(unnoticed: str) -> None:
    enough, said = verdict(COUNTS | {unnoticed: COUNTS[unnoticed] + 1})
    assert not enough
    assert said.startswith("95 of 101 mutants were noticed, 94.1%; 95% have to be.")


def test_no_mutants_at_all_fail() -> None:
    assert verdict(dict.fromkeys(COUNTS, 0)) == (False, "no mutant was run")
