"""The page of the simulated cluster shows its committed figures."""

from __future__ import annotations

import json

from benchmarks.cluster_picture import FIGURES, rows, table

COMMITTED = json.loads(FIGURES.read_text(encoding="utf-8"))


def test_the_pages_table_is_that_of_the_committed_figures() -> None:
    page = FIGURES.with_name("scale.md").read_text(encoding="utf-8")
    assert table(COMMITTED) in page, "run: python -m benchmarks.cluster_picture"


def test_the_rule_keeps_to_what_the_page_claims() -> None:
    found = {(row.scene, row.policy): row for row in rows(COMMITTED)}
    for scene in ("4 replicas", "16 replicas", "64 replicas", "256 replicas", "slow disk", "bursts"):
        ours, turns = found[scene, "ours"], found[scene, "round robin"]
        assert max(ours.ratios) <= 1.15
        assert ours.loads < turns.loads / 10
