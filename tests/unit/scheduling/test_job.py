from __future__ import annotations

from .scorers import job_of


def test_without_pairs_it_is_done_at_once() -> None:
    assert job_of([]).future.result(0) == []


def test_ends_with_its_last_pair_and_not_before() -> None:
    job = job_of([1, 1])
    job.resolve(1, 0.5)
    assert not job.future.done()
    job.resolve(0, -0.5)
    assert job.future.result(0) == [-0.5, 0.5]


def test_an_answer_after_the_caller_left_is_dropped() -> None:
    job = job_of([1])
    job.future.cancel()
    job.resolve(0, 1.0)
    assert job.future.cancelled()


def test_keeps_its_first_end() -> None:
    job = job_of([1])
    job.resolve(0, 1.0)
    job.fail(RuntimeError("too late"))
    assert job.future.result(0) == [1.0]


def test_has_nothing_waiting_once_it_failed() -> None:
    job = job_of([1, 1])
    assert job.waiting == 2
    job.fail(RuntimeError("failed"))
    assert job.waiting == 0


def test_hands_out_neighbours_and_counts_their_tokens() -> None:
    job = job_of([3, 9, 5])
    assert [slot.place for slot in job.take(start=1, count=2)] == [2, 0]
    assert (job.waiting, job.longest, job.waiting_tokens, job.taken) == (1, 9, 9, False)
    job.take(start=0, count=1)
    assert (job.waiting, job.waiting_tokens, job.taken) == (0, 0, True)
