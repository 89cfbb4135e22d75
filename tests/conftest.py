from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import settings

# two workers and their servers share the cores; threads that spin for a tiny network slow all of them down
os.environ.setdefault("OMP_NUM_THREADS", "1")

# a busy machine is no failure
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

FUZZED = "fuzzed requests"
"""The property under which a test records how many requests it made up."""
RecordProperty = Callable[[str, object], None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many requests were made up."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    properties = {
        (report.nodeid, name): count for report in reports for name, count in getattr(report, "user_properties", ())
    }
    if counts := [count for (_, name), count in properties.items() if name == FUZZED]:
        terminalreporter.write_line(f"{sum(counts)} requests were made up, none was answered with 5xx")
