"""What a server's processes take, and where that is going. Linux only."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy
import psutil

from benchmarks.processes import process_tree

_MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Usage:
    """What the processes take at one moment."""

    resident: float
    """Megabytes of memory."""
    descriptors: int
    """Open files and connections."""
    threads: int


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through values."""

    slope: float
    """By how much they grow where what they stand over grows by one."""
    error: float
    """Standard error of the slope."""

    def times(self, factor: float) -> Trend:
        """The same over units ``factor`` times as large."""
        return Trend(self.slope * factor, self.error * factor)


def usage(pid: int) -> Usage:
    """What a process and all that descend from it take together."""
    resident = descriptors = threads = 0
    for each in process_tree(pid):
        # a helper may end between two looks
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(each)
            resident += process.memory_info().rss
            descriptors += process.num_fds()
            threads += process.num_threads()
    return Usage(resident / _MEGABYTE, descriptors, threads)


def trend(curve: Sequence[tuple[float, float]]) -> Trend:
    """The line through a curve of at least four points."""
    points = numpy.array(curve)
    (slope, _), covariance = numpy.polyfit(points[:, 0], points[:, 1], 1, cov=True)
    return Trend(float(slope), float(numpy.sqrt(covariance[0, 0])))
