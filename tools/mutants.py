"""The end of `make mutants`: fails where tests notice too few of the changes that mutmut made."""

from __future__ import annotations

import json
import sys
from pathlib import Path

MINIMUM = 0.95
STATISTICS = Path("mutants/mutmut-cicd-stats.json")


def verdict(counts: dict[str, int]) -> str:
    """What is wrong with the counts; empty if enough mutants were noticed."""
    noticed = counts["killed"] + counts["timeout"]
    judged = noticed + counts["survived"] + counts["no_tests"] + counts["suspicious"]
    if not judged:
        return "no mutant was run"
    if noticed < MINIMUM * judged:
        return f"{noticed} of {judged} mutants were noticed; {MINIMUM:.0%} have to be. `mutmut results` lists the rest."
    return ""


if __name__ == "__main__":
    sys.exit(verdict(json.loads(STATISTICS.read_text())) or None)
