from __future__ import annotations

from rerank.scheduling.memory import Lately


def test_what_is_costly_to_read_is_read_twice_a_second_at_most() -> None:
    now = [10.0]
    given = iter([5, 7, 9])
    free = Lately(lambda: next(given), lambda: now[0])

    assert [free(), free()] == [5, 5]
    now[0] = 10.4
    assert free() == 5
    now[0] = 10.6
    assert [free(), free()] == [7, 7]
    now[0] = 11.2
    assert free() == 9
