"""The order in which jobs would end under equal sharing of a device. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from bisect import insort


class EqualSharing:
    """The share that each job would have received by now if all shared a device token by token.

    Jobs served one after another, in the order in which equal sharing would end them, all end as early as with equal
    sharing, most of them much earlier: the fair sojourn protocol of E. J. Friedman and S. G. Henderson, "Fairness and
    efficiency in web server protocols", SIGMETRICS 2003.
    """

    def __init__(self) -> None:
        self._share = 0.0
        """Tokens received by a job that was there from the beginning."""
        self._ends: list[float] = []
        """The shares at which unfinished jobs end, lowest first."""

    def enter(self, tokens: int, begins_at: float = 0.0) -> float:
        """Add a job of ``tokens`` that begins now or later; the share at which it ends. The lowest is served first."""
        end = max(self._share, begins_at) + tokens
        insort(self._ends, end)
        return end

    def leave(self, end: float) -> None:
        """Remove the job that would end at this share."""
        if end in self._ends:
            self._ends.remove(end)

    def serve(self, tokens: int) -> None:
        """Divide served tokens among all jobs, whichever job they were of."""
        left = float(tokens)
        while self._ends:
            until_next_end = (self._ends[0] - self._share) * len(self._ends)
            if left < until_next_end:
                self._share += left / len(self._ends)
                return
            left -= until_next_end
            self._share = self._ends.pop(0)
