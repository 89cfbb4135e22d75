"""In which order jobs would end if all shared a device equally. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from bisect import insort


class EqualSharing:
    """What each job would have got by now of a device that all of them shared token by token.

    Jobs served one after another, in the order in which equal sharing would end them, all end as early as with equal
    sharing, most of them much earlier: the fair sojourn protocol of E. J. Friedman and S. G. Henderson, "Fairness and
    efficiency in web server protocols", SIGMETRICS 2003.
    """

    def __init__(self) -> None:
        self._share = 0.0
        """Tokens that a job would have got that was there from the beginning."""
        self._ends: list[float] = []
        """The share at which each job ends that equal sharing has not ended yet, lowest first."""

    def enter(self, tokens: int) -> float:
        """A job of so many tokens comes: the share at which it ends, by which jobs are to be served, lowest first."""
        end = self._share + tokens
        insort(self._ends, end)
        return end

    def leave(self, end: float) -> None:
        """The job that would end at this share goes without being served to its end."""
        if end in self._ends:
            self._ends.remove(end)

    def serve(self, tokens: int) -> None:
        """So many tokens were served, whichever jobs' they were: here all get their part of them."""
        left = float(tokens)
        while self._ends:
            until_next_end = (self._ends[0] - self._share) * len(self._ends)
            if left < until_next_end:
                self._share += left / len(self._ends)
                return
            left -= until_next_end
            self._share = self._ends.pop(0)
