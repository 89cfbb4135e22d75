"""Tests under Ray: a dozen processes and minutes on two cores, so `make test-ray` runs them, not `make test`."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("TEST_RAY") else ["test_ray*.py"]
