from __future__ import annotations

from rerank.scheduling.sharing import EqualSharing


def test_alone_a_job_ends_after_its_own_tokens() -> None:
    sharing = EqualSharing()
    assert sharing.enter(10) == 10
    sharing.serve(10)
    assert sharing.enter(5) == 15


def test_what_was_served_before_counts_towards_the_end() -> None:
    sharing = EqualSharing()
    sharing.enter(100)
    sharing.enter(300)
    sharing.serve(80)
    sharing.serve(130)
    assert sharing.enter(1) == 111


def test_what_is_served_is_shared_by_all_that_are_there() -> None:
    sharing = EqualSharing()
    sharing.enter(100)
    sharing.enter(100)
    sharing.serve(40)
    assert sharing.enter(1) == 21


def test_who_has_enough_leaves_more_to_the_others() -> None:
    sharing = EqualSharing()
    sharing.enter(10)
    sharing.enter(100)
    sharing.serve(50)
    assert sharing.enter(1) == 41


def test_who_leaves_leaves_more_to_the_others() -> None:
    sharing = EqualSharing()
    gone = sharing.enter(100)
    sharing.enter(100)
    sharing.leave(gone)
    sharing.serve(40)
    assert sharing.enter(1) == 41


def test_leaving_after_the_end_changes_nothing() -> None:
    sharing = EqualSharing()
    ended = sharing.enter(10)
    sharing.enter(100)
    sharing.serve(30)
    sharing.leave(ended)
    assert sharing.enter(1) == 21


def test_without_jobs_nothing_is_served() -> None:
    sharing = EqualSharing()
    sharing.serve(1000)
    assert sharing.enter(1) == 1
