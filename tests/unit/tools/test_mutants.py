from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tools.mutants import verdict

ROOT = Path(__file__).parents[3]

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


@pytest.mark.parametrize("listed", ["only_mutate", "pytest_add_cli_args_test_selection"])
def test_every_file_that_mutmut_is_to_read_exists(listed: str) -> None:
    names = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"][listed]
    assert [name for name in names if not (ROOT / name).is_file()] == []
