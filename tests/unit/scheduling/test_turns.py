from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rerank.scheduling.turns import Reader, Turns


def serve(turns: Turns, characters: int) -> Reader:
    """Give a part of the work to whose turn it is, who then waits for the next."""
    reader = turns.next()
    assert reader
    turns.note(reader, characters)
    turns.wait(reader)
    return reader


def enter(turns: Turns, caller: str, characters: int) -> Reader:
    reader = turns.enter(caller, characters)
    turns.wait(reader)
    return reader


def test_callers_take_turns_however_many_requests_each_has() -> None:
    turns = Turns()
    for _ in range(5):
        enter(turns, "flood", 1000)
    other = enter(turns, "other", 1000)
    served = [serve(turns, 10) for _ in range(10)]
    assert served.count(other) == 5


def test_a_short_request_does_not_wait_for_the_end_of_a_long_one() -> None:
    turns = Turns()
    enter(turns, "", 1_000_000)
    for _ in range(3):
        serve(turns, 100)
    short = enter(turns, "", 10)
    assert serve(turns, 10) is short


def test_who_was_away_gets_no_credit_for_it() -> None:
    turns = Turns()
    busy = enter(turns, "busy", 1_000_000)
    for _ in range(100):
        serve(turns, 1000)
    new = enter(turns, "new", 1_000_000)
    served = [serve(turns, 1000) for _ in range(10)]
    assert (served.count(busy), served.count(new)) == (5, 5)


def test_who_left_and_returns_begins_anew() -> None:
    turns = Turns()
    long = enter(turns, "a", 1000)
    serve(turns, 500)
    enter(turns, "b", 1000)
    turns.note(long, 300)
    turns.leave(long)
    again = enter(turns, "a", 1000)
    assert [serve(turns, 10) for _ in range(4)].count(again) == 2


def test_who_leaves_leaves_more_to_the_callers_other_requests() -> None:
    turns = Turns()
    long, gone = enter(turns, "a", 1000), enter(turns, "a", 2000)
    turns.leave(gone)
    for _ in range(6):
        serve(turns, 100)
    # alone it has four hundred left to read
    enter(turns, "a", 500)
    assert serve(turns, 100) is long


def test_who_left_is_not_served() -> None:
    turns = Turns()
    gone, here = enter(turns, "a", 10), enter(turns, "b", 10)
    turns.leave(gone)
    assert serve(turns, 1) is here
    turns.leave(here)
    assert turns.next() is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 500)), min_size=1, max_size=20))
def test_every_request_comes_to_its_end(requests: list[tuple[str, int]]) -> None:
    turns = Turns()
    left = {enter(turns, caller, size): size for caller, size in requests}
    while reader := turns.next():
        turns.note(reader, 100)
        left[reader] -= 100
        if left[reader] > 0:
            turns.wait(reader)
        else:
            turns.leave(reader)
            del left[reader]
    assert not left
