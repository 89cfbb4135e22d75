"""The end of `make mutants`: says how many, and fails where tests notice too few of the changes that mutmut made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

MINIMUM = 0.95
STATISTICS = Path("mutants/mutmut-cicd-stats.json")


def verdict(counts: dict[str, int]) -> tuple[bool, str]:
    """Whether enough mutants were noticed, and how many were."""
    noticed = counts["killed"] + counts["timeout"]
    judged = noticed + counts["survived"] + counts["no_tests"] + counts["suspicious"]
    if not judged:
        return False, "no mutant was run"
    said = f"{noticed} of {judged} mutants were noticed, {noticed / judged:.1%}"
    if noticed < MINIMUM * judged:
        return False, f"{said}; {MINIMUM:.0%} have to be. `mutmut results` lists the rest."
    return True, said


if __name__ == "__main__":
    enough, said = verdict(json.loads(STATISTICS.read_text()))
    print(said)
    sys.exit(not enough)
