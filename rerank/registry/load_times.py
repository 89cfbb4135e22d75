"""Measured and expected durations of loads. Pure: the caller passes the current time."""

from __future__ import annotations


class LoadTimes:
    """How long each model took to load when it last was, and how long those under way will take."""

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._measured: dict[str, float] = {}
        self._seconds = 0.0
        self._bytes = 0

    def begin(self, model: str, now: float) -> None:
        """A load begins."""
        self._began[model] = now

    def loaded(self, model: str, size: int, now: float) -> None:
        """The model is in memory and takes ``size`` bytes."""
        seconds = self._measured[model] = now - self._began.pop(model, now)
        if size:
            self._seconds += seconds
            self._bytes += size

    def failed(self, model: str) -> None:
        """The model could not be found or loaded."""
        self._began.pop(model, None)

    @property
    def measured(self) -> dict[str, float]:
        """Seconds of each model's last load."""
        return dict(self._measured)

    def expected(self, model: str, size: int) -> float | None:
        """Seconds that a load takes: as measured, else by its bytes at the pace of the loads so far; None without."""
        if model in self._measured:
            return self._measured[model]
        return size * self._seconds / self._bytes if self._bytes else None

    def remaining(self, model: str, size: int, asked: float, now: float) -> float:
        """Expected seconds until the model is in memory if no other is loaded before; ``asked``: when it was wanted.

        A load of unknown duration is expected to take as long again, a late one as long as it is late.
        """
        expected = self.expected(model, size)
        if expected is None:
            return now - asked
        return abs(expected - (now - self._began.get(model, now)))
