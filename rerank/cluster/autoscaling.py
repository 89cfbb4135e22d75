"""The number of replicas, by seconds of backlog. Ray applies bounds and delays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

METRIC = "backlog_seconds"


class BacklogPolicy:
    """Ray's policy: the number of replicas with which each has ``target`` seconds of work."""

    def __init__(self, target: float) -> None:
        self._target = target

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:
        """See ``ray.serve.config.AutoscalingPolicy``."""
        reported: Mapping[Any, float] = (context.aggregated_metrics or {}).get(METRIC, {})
        return replicas_for(reported.values(), self._target, context.current_num_replicas), {}


def replicas_for(backlogs: Iterable[float], target: float, running: int) -> int:
    """The replicas for the backlogs of those that report; until they do, as many as there are.

    One is removed only if the others would then still be below the target: else it would soon be added again.
    """
    known = list(backlogs)
    if not known:
        return max(1, running)
    total = sum(known)
    if total > target * running:
        return max(running, math.ceil(total / target))
    fewer = max(1, math.ceil(2 * total / target))
    return min(running, fewer) if running else 1
