"""A quarter of a minute of everything at once. `make soak` sends for longer, and judges memory too."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak import Plan, soak
from benchmarks.soak_kinds import KINDS


def test_a_soak_loses_no_request_and_grows_nothing(tmp_path: Path) -> None:
    record = soak(Plan(15, tmp_path))

    assert record.failures == []
    assert record.sent.total() == record.answered + record.left.total()
    assert record.lost == 0
    # and there was something to lose
    assert all(record.sent[kind.name] for kind in KINDS)
    assert record.kills["upstream-healthy"] > 0
    assert min(record.events["unloaded"], record.reloads, record.wrong_files, record.left.total()) > 0
